"""Streams that come and go during a soak, and a watch over the memory of the workers."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.harness.churn import churn

PATH = "/events/?topic=demo.one"
BATCH = 50
PAUSE_SECONDS = 0.2
RETAINED_MIB = 64 + 32
"""What the log retains (`RETENTION`), in the window of each process, and its index."""
GROWTH_MIB = RETAINED_MIB + 32
MIB = 1024 * 1024


class Churn:
    """Opens and closes streams, in a thread, until it is stopped. Counts those that began."""

    def __init__(self, port: int) -> None:
        self.streams = 0
        self._port = port
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            await asyncio.to_thread(self._churn)
        finally:
            self._stopped.set()

    def _churn(self) -> None:
        while not self._stopped.wait(PAUSE_SECONDS):
            with suppress(OSError):  # a fault
                churn(self._port, PATH, streams=BATCH)
                self.streams += BATCH


class MemoryWatch:
    """Compares the memory of each worker with what it was when that worker was first seen."""

    def __init__(
        self, workers: Callable[[], list[psutil.Process]], *, growth_mib: float = GROWTH_MIB
    ) -> None:
        self._workers = workers
        self._growth_mib = growth_mib
        self._first: dict[int, float] = {}
        self.most_grown = 0.0
        """MiB."""

    def violations(self) -> list[str]:
        found = []
        for worker in self._workers():
            with suppress(psutil.NoSuchProcess):
                now = worker.memory_full_info().uss / MIB
                growth = now - self._first.setdefault(worker.pid, now)
                self.most_grown = max(self.most_grown, growth)
                if growth > self._growth_mib:
                    found.append(f"Worker {worker.pid} has grown by {growth:.0f} MiB.")
        return found
