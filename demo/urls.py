"""`path("examples/", include("demo.urls"))`."""

from django.db.transaction import non_atomic_requests as lasting
from django.urls import path

from demo.chat import Chat
from demo.chunks import AsyncChunks, Chunks
from demo.index import index
from demo.loader import Loader

app_name = "demo"
# What lasts would hold a transaction open, where `ATOMIC_REQUESTS` is set: Django refuses that.
urlpatterns = [
    path("", index, name="index"),
    path("streaming/", lasting(Chunks.as_view()), name="streaming"),
    path("astreaming/", lasting(AsyncChunks.as_view()), name="astreaming"),
    path("chat/", lasting(Chat.as_view()), name="chat"),
    path("loader/", lasting(Loader.as_view()), name="loader"),
]
