"""The outbox: events written in the application's transaction, and published after its commit."""

from notifications.publishing.outbox.relay import Relay, publish_waiting
from notifications.publishing.outbox.relay_threads import (
    RelayThreads,
    is_relayed_in_process,
    wake_on_commit,
)
from notifications.publishing.outbox.table import (
    Backlog,
    backlog,
    retry_refused,
    write,
    write_per_topic,
)

__all__ = [
    "Backlog",
    "Relay",
    "RelayThreads",
    "backlog",
    "is_relayed_in_process",
    "publish_waiting",
    "retry_refused",
    "wake_on_commit",
    "write",
    "write_per_topic",
]
