"""The URLs of the example pages, and their index: `path("examples/", include("demo.urls"))`."""

from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from demo.chat import Chat
from demo.chunks import AsyncChunks, Chunks
from demo.loader import Loader
from demo.notes import Notes
from demo.people import Send
from notifications.views.security_headers import protect


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return protect(render(request, "demo/index.html"))


app_name = "demo"
# With `ATOMIC_REQUESTS`, Django refuses async views, which would hold a transaction open.
urlpatterns = [
    path("", index, name="index"),
    path("streaming/", non_atomic_requests(Chunks.as_view()), name="streaming"),
    path("astreaming/", non_atomic_requests(AsyncChunks.as_view()), name="astreaming"),
    path("chat/", non_atomic_requests(Chat.as_view()), name="chat"),
    path("send/", Send.as_view(), name="send"),
    path("notes/", Notes.as_view(), name="notes"),
    path("loader/", non_atomic_requests(Loader.as_view()), name="loader"),
]
