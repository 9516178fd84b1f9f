"""The relays of this process: one for each database, each in a thread."""

import asyncio
import atexit
import threading
import time
from collections.abc import Iterable

from notifications.conf import Settings
from notifications.publishing.outbox.relay import Relay

PARTING = 5.0
"""How long a process that ends waits for a batch that is under way."""

_running: set["Relays"] = set()


class Relays:
    """Between `start` and `stop`."""

    def __init__(self, databases: Iterable[str], settings: Settings) -> None:
        self.relays = [Relay(using, settings) for using in databases]
        self._threads = [
            threading.Thread(target=relay.run, name=f"carillon-relay-{relay.using}", daemon=True)
            for relay in self.relays
        ]

    def start(self) -> None:
        _running.add(self)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """So that others may relay at once. Waits for it, within bounds."""
        _running.discard(self)
        for relay in self.relays:
            relay.stop()
        limit = time.monotonic() + PARTING
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))


async def relay_in_process(settings: Settings) -> None:
    """A service of the hub's runtime: relays until it is cancelled, where `OUTBOX` says so."""
    if settings.OUTBOX != "in-process":
        return
    relays = Relays(settings.OUTBOX_DATABASES, settings)
    relays.start()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(relays.stop)


def is_relayed_here(using: str) -> bool:
    return any(relay.using == using for relays in list(_running) for relay in relays.relays)


def nudge(using: str) -> None:
    """Where this process relays that database: there is something in its outbox."""
    for relays in list(_running):
        for relay in relays.relays:
            if relay.using == using:
                relay.nudge()


@atexit.register
def _stop_all() -> None:
    for relays in list(_running):
        relays.stop()
