"""Exports the state of this process as metrics: once a second, and when a scraper asks."""

import asyncio
import os
from importlib.util import find_spec
from math import inf

from notifications.conf import get_settings
from notifications.errors import Unavailable
from notifications.hub.hub import Hub
from notifications.hub.quotas import descriptor_limit, stream_limit
from notifications.log.base import Log
from notifications.log.cursors import Cursor
from notifications.telemetry.counters import process_counters
from notifications.telemetry.process import open_descriptors, resident_bytes

EXPORT_SECONDS = 1.0
LAG_CHECK_SECONDS = 5.0
CATCH_UP_SECONDS = 0.1
"""A tail that does not lag has read within this time what the log held before."""


def is_available() -> bool:
    """Whether the extra `metrics` is installed."""
    return find_spec("prometheus_client") is not None


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that has ended, if prometheus-client itself exchanges them."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR") and is_available():
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)


class MetricsExporter:
    """Lives in the event loop of its hub."""

    def __init__(
        self,
        hub: Hub,
        log: Log,
        *,
        check_seconds: float = LAG_CHECK_SECONDS,
        catch_up_seconds: float = CATCH_UP_SECONDS,
    ) -> None:
        self._hub = hub
        self._log = log
        self._check_seconds = max(check_seconds, LAG_CHECK_SECONDS)
        self._catch_up_seconds = catch_up_seconds
        self._last_complete = hub.timing.clock()
        self._lags = False

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._export_periodically())
            group.create_task(self._check_lag_periodically())

    def export(self) -> None:
        # Imported here because `prometheus_client`, which the module needs, may not be installed.
        from notifications.telemetry import exposition, metrics

        metrics.export_counters()
        metrics.STREAMS.set(process_counters.open)
        metrics.SLOW.set(self._hub.slow)
        window = self._hub.window
        metrics.WINDOW_SPAN.set(window.span)
        metrics.WINDOW_EVENTS.set(len(window))
        metrics.WINDOW_BYTES.set(window.size)
        lag = self._hub.timing.clock() - self._last_complete if self._lags else 0
        metrics.TAIL_LAG.set(lag)
        limit = descriptor_limit()
        metrics.STREAMS_LIMIT.set(stream_limit(get_settings().MAX_STREAMS, limit) or inf)
        metrics.MEMORY.set(resident_bytes())
        metrics.DESCRIPTORS.set(open_descriptors())
        metrics.DESCRIPTORS_LIMIT.set(inf if limit is None else limit)
        exposition.write()

    async def _export_periodically(self) -> None:
        while True:
            self.export()
            await asyncio.sleep(EXPORT_SECONDS)

    async def _check_lag_periodically(self) -> None:
        timing = self._hub.timing
        while True:
            await asyncio.sleep(self._check_seconds * timing.random.uniform(0.75, 1.25))
            self._lags = not await self._is_complete()
            if not self._lags:
                self._last_complete = timing.clock()

    async def _is_complete(self) -> bool:
        """Whether this process has read everything that the log held a moment ago."""
        try:
            state = await self._log.state()
        except Unavailable:
            return False
        if not self._has_reached(state):
            await asyncio.sleep(self._catch_up_seconds)
        return self._has_reached(state)

    def _has_reached(self, state: Cursor) -> bool:
        head = self._hub.head
        return head.epoch == state.epoch and head.position >= state.position
