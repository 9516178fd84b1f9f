"""Telling the metrics, once a second and when somebody asks: how this process is."""

import asyncio
import random
from importlib.util import find_spec

from notifications.errors import Unavailable
from notifications.hub.hub import Hub
from notifications.log.base import Log
from notifications.log.cursors import Cursor
from notifications.telemetry.counters import process_counters

EVERY = 1.0
LOOK_EVERY = 5.0
PATIENCE = 0.1
"""What was kept this long ago has been read, unless the tail lags."""


def is_possible() -> bool:
    """Whether the extra `metrics` is installed."""
    return find_spec("prometheus_client") is not None


class Exporter:
    """Beside a hub, in its event loop."""

    def __init__(self, hub: Hub, log: Log) -> None:
        self._hub = hub
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._complete = self._loop.time()
        self._lags = False

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._tell_again_and_again())
            both.create_task(self._look_again_and_again())

    def tell(self) -> None:
        from notifications.telemetry import metrics  # what it stands on may not be installed

        metrics.count()
        metrics.STREAMS.set(process_counters.open)
        metrics.SLOW.set(self._hub.slow)
        window = self._hub.window
        metrics.WINDOW_SPAN.set(window.span)
        metrics.WINDOW_EVENTS.set(len(window))
        metrics.WINDOW_BYTES.set(window.size)
        metrics.TAIL_LAG.set(self._loop.time() - self._complete if self._lags else 0)

    async def _tell_again_and_again(self) -> None:
        while True:
            self.tell()
            await asyncio.sleep(EVERY)

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY * random.uniform(0.75, 1.25))
            self._lags = not await self._is_complete()
            if not self._lags:
                self._complete = self._loop.time()

    async def _is_complete(self) -> bool:
        """Whether this process has all that the log had a moment ago."""
        try:
            state = await self._log.state()
        except Unavailable:
            return False
        if not self._has(state):
            await asyncio.sleep(PATIENCE)
        return self._has(state)

    def _has(self, state: Cursor) -> bool:
        head = self._hub.head
        return head.epoch == state.epoch and head.position >= state.position
