"""Writes into the outbox, runs relays in this process, and waits for events in the log."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from notifications import Event, publish_outbox_many
from notifications.conf import get_settings
from notifications.log.records import Entry
from notifications.publishing.outbox import Relay, RelayThreads
from tests.harness.published import read_published

DEADLINE_SECONDS = 60.0


class Published:
    """The events in the log of the current settings."""

    def entries(self) -> list[Entry]:
        return asyncio.run(read_published())

    def data(self, topic: str | None = None) -> list[str]:
        return [
            entry.data.decode()
            for entry in self.entries()
            if topic is None or topic in entry.topics
        ]

    def until(self, number: int) -> list[str]:
        """The data of all events, once there are at least `number`."""
        wait_until(lambda: len(self.data()) >= number, pause=0.05)  # reading starts an event loop
        return self.data()


def wait_until(
    condition: Callable[[], bool], *, deadline: float = DEADLINE_SECONDS, pause: float = 0.01
) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "The condition did not become true."
        time.sleep(pause)


@contextmanager
def relaying(using: str, **options: Any) -> Iterator[Relay]:
    """A relay in a thread of this process."""
    relay = Relay(using, get_settings(), **options)
    threads = RelayThreads([relay])
    threads.start()
    try:
        yield relay
    finally:
        threads.stop()


def write(using: str, topic: str, *data: str) -> None:
    events = [Event(topics=[topic], data=text) for text in data]
    publish_outbox_many(events, using=using)
