"""`path("examples/", include("notifications.examples.urls"))`."""

from django.db.transaction import non_atomic_requests as lasting
from django.urls import path

from notifications.examples.chat import Chat
from notifications.examples.chunks import AsyncChunks, Chunks
from notifications.examples.index import index
from notifications.examples.loader import Loader

app_name = "carillon_examples"
# What lasts would hold a transaction open, where `ATOMIC_REQUESTS` is set: Django refuses that.
urlpatterns = [
    path("", index, name="index"),
    path("streaming/", lasting(Chunks.as_view()), name="streaming"),
    path("astreaming/", lasting(AsyncChunks.as_view()), name="astreaming"),
    path("chat/", lasting(Chat.as_view()), name="chat"),
    path("loader/", lasting(Loader.as_view()), name="loader"),
]
