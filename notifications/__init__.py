"""Carillon: Server-Sent Events for Django. This is the public interface for applications."""

from notifications.asgi.responses import EventStreamResponse
from notifications.compat import moved
from notifications.errors import CarillonError, Conflict, Invalid, TooLarge, Unavailable
from notifications.events import Event
from notifications.publishing.control import kick, recheck
from notifications.publishing.progress import progress
from notifications.publishing.publisher import (
    apublish,
    apublish_many,
    publish,
    publish_many,
    publish_on_commit,
    publish_outbox,
    publish_outbox_many,
)
from notifications.topics import topic_segment, user_topic

__all__ = [
    "CarillonError",
    "Conflict",
    "Event",
    "EventStreamResponse",
    "Invalid",
    "TooLarge",
    "Unavailable",
    "apublish",
    "apublish_many",
    "kick",
    "progress",
    "publish",
    "publish_many",
    "publish_on_commit",
    "publish_outbox",
    "publish_outbox_many",
    "recheck",
    "topic_segment",
    "user_topic",
]

moved.install()
