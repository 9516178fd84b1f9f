"""The relays of this process: one for each database, each in a thread."""

import asyncio
import atexit
import threading
import time
from collections.abc import Iterable
from functools import partial

from django.db import transaction

from notifications.conf import Settings
from notifications.publishing.outbox.relay import Relay

STOP_BATCH_SECONDS = 5.0
"""How long stopping waits, at most, for the groups that are being published."""

_running: set["RelayThreads"] = set()


class RelayThreads:
    """Runs each relay in a thread, from `start` to `stop`."""

    def __init__(self, relays: Iterable[Relay]) -> None:
        self.relays = list(relays)
        self._threads = [
            threading.Thread(target=relay.run, name=f"carillon-relay-{relay.using}", daemon=True)
            for relay in self.relays
        ]

    def start(self) -> None:
        _running.add(self)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the relays and release their leases, so that others may relay at once."""
        _running.discard(self)
        for relay in self.relays:
            relay.stop()
        deadline = time.monotonic() + STOP_BATCH_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


async def relay_in_process(settings: Settings) -> None:
    """A service of the hub's runtime: with `OUTBOX = "in-process"`, relay until cancelled."""
    if settings.OUTBOX != "in-process":
        return
    threads = RelayThreads(Relay(using, settings) for using in settings.OUTBOX_DATABASES)
    threads.start()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(threads.stop)


def is_relayed_in_process(using: str) -> bool:
    """Whether a relay of this process reads the outbox of this database."""
    return any(relay.using == using for threads in list(_running) for relay in threads.relays)


def wake(using: str) -> None:
    """Wake this process's relay of a database, because its outbox has new events."""
    for threads in list(_running):
        for relay in threads.relays:
            if relay.using == using:
                relay.wake()


def wake_on_commit(using: str) -> None:
    """Wake this process's relay of a database, if there is one, once the transaction commits."""
    if is_relayed_in_process(using):
        transaction.on_commit(partial(wake, using), using=using)


@atexit.register
def _stop_all() -> None:
    for threads in list(_running):
        threads.stop()
