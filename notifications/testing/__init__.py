"""For the tests of applications: what was published, and what a stream says, with no server."""

from notifications.testing.isolation import OutboxMixin, empty_log
from notifications.testing.outbox import Outbox, assert_published, outbox
from notifications.testing.reading import read_events
from notifications.testing.relaying import relay_outbox

__all__ = [
    "Outbox",
    "OutboxMixin",
    "assert_published",
    "empty_log",
    "outbox",
    "read_events",
    "relay_outbox",
]
