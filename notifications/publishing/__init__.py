"""Publishing: events and control entries, from any code of the application into the log."""

from notifications.publishing.control import kick, recheck
from notifications.publishing.publisher import (
    apublish,
    apublish_many,
    publish,
    publish_many,
    publish_on_commit,
    publish_outbox,
    publish_outbox_many,
)

__all__ = [
    "apublish",
    "apublish_many",
    "kick",
    "publish",
    "publish_many",
    "publish_on_commit",
    "publish_outbox",
    "publish_outbox_many",
    "recheck",
]
