"""Carillon: Server-Sent Events for Django. This is the public interface for applications."""

from notifications.asgi.responses import EventStreamResponse
from notifications.compat import moved
from notifications.conf.version import VERSION
from notifications.errors import CarillonError, Conflict, Invalid, TooLarge, Unavailable
from notifications.events import Event, Swap
from notifications.hub.page_cursor import acursor, cursor
from notifications.inbox.notify import anotify, notify
from notifications.publishing.control import kick, recheck
from notifications.publishing.html import (
    apublish_html,
    html_event,
    publish_html,
    publish_html_on_commit,
    publish_html_outbox,
)
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
    "Swap",
    "TooLarge",
    "Unavailable",
    "acursor",
    "anotify",
    "apublish",
    "apublish_html",
    "apublish_many",
    "cursor",
    "html_event",
    "kick",
    "notify",
    "progress",
    "publish",
    "publish_html",
    "publish_html_on_commit",
    "publish_html_outbox",
    "publish_many",
    "publish_on_commit",
    "publish_outbox",
    "publish_outbox_many",
    "recheck",
    "topic_segment",
    "user_topic",
]

__version__ = VERSION

moved.install()
