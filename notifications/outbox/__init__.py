"""The outbox: events written in the application's transaction, and published after its commit."""

from notifications.outbox.relay import publish_waiting
from notifications.outbox.relays import Relays, is_relayed_here, nudge
from notifications.outbox.rows import Backlog, backlog, retry_refused, write

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
