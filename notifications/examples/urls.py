"""`path("examples/", include("notifications.examples.urls"))`."""

from django.urls import path

from notifications.examples.chat import Chat
from notifications.examples.chunks import AsyncChunks, Chunks
from notifications.examples.index import index
from notifications.examples.loader import Loader

app_name = "carillon_examples"
urlpatterns = [
    path("", index, name="index"),
    path("streaming/", Chunks.as_view(), name="streaming"),
    path("astreaming/", AsyncChunks.as_view(), name="astreaming"),
    path("chat/", Chat.as_view(), name="chat"),
    path("loader/", Loader.as_view(), name="loader"),
]
