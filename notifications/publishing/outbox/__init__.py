"""The outbox: events written in the application's transaction, and published after its commit."""

from notifications.publishing.outbox.relay import publish_waiting
from notifications.publishing.outbox.table import Backlog, backlog, retry_refused, write
from notifications.publishing.outbox.threads import Relays, is_relayed_here, nudge

__all__ = [
    "Backlog",
    "Relays",
    "backlog",
    "is_relayed_here",
    "nudge",
    "publish_waiting",
    "retry_refused",
    "write",
]
