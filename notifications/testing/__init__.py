"""For the tests of applications: check published events and read streams, without a server."""

from notifications.testing.captured import Outbox, assert_published, outbox
from notifications.testing.isolation import OutboxMixin, empty_log, relay_outbox
from notifications.testing.reading import read_events

__all__ = [
    "Outbox",
    "OutboxMixin",
    "assert_published",
    "empty_log",
    "outbox",
    "read_events",
    "relay_outbox",
]
