"""What happens on a clock: keep-alives, write deadlines, maximum ages, trimming of the window."""

import asyncio
from itertools import batched

from notifications.hub.hub import Hub
from notifications.hub.scheduling import TimerWheel
from notifications.hub.subscribers import CloseReason, Subscriber

SHORTEST_TICK_SECONDS, LONGEST_TICK_SECONDS = 0.1, 0.5
TICKS_PER_PERIOD = 40
"""The streams of a tick are visited in one pass: to wake up for a few costs more than the few."""
JITTER = 0.25
BUSY_SECONDS = 1.0
"""The pause before another visit to a stream that is too old but whose transport is busy."""


class KeepAlive:
    """Visits each subscriber every `period` seconds, give or take a quarter.

    The jitter spreads the keep-alives of a process over time. A stream that is older than `max_age`
    seconds, give or take a quarter, ends instead; 0 means that no stream is too old.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        period: float,
        write_deadline: float,
        max_age: float = 0,
        tick_seconds: float | None = None,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._hub = hub
        self._timing = hub.timing
        self._period = period
        self._write_deadline = write_deadline
        self._max_age = max_age
        self._busy_seconds = busy_seconds
        self._tick_seconds = tick_seconds or min(
            max(SHORTEST_TICK_SECONDS, min(period, write_deadline) / TICKS_PER_PERIOD),
            LONGEST_TICK_SECONDS,
        )
        clock = self._timing.clock
        self._visits: TimerWheel[Subscriber] = TimerWheel(self._tick_seconds, clock=clock)
        hub.on_leave.append(self._forget)

    def add(self, subscriber: Subscriber) -> None:
        if not subscriber.open:
            return
        # A keep-alive fits into the kernel's buffer, so the write to a vanished client never fails.
        subscriber.transport.limit_unacknowledged(self._write_deadline)
        if self._max_age:
            subscriber.limit_age(self._timing.clock() + self._jittered(self._max_age))
        self._schedule(subscriber, now=self._timing.clock())

    def _forget(self, subscriber: Subscriber, _: CloseReason) -> None:
        """The subscriber has left the hub."""
        self._visits.remove(subscriber, subscriber.visit_tick)

    def _schedule(self, subscriber: Subscriber, *, now: float) -> None:
        after = self._jittered(self._period)
        if subscriber.expires_at - now < after:
            after = min(after, max(self._busy_seconds, subscriber.expires_at - now))
        subscriber.file_visit(self._visits.add(subscriber, after=after, now=now))

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._tick_seconds)
            await self._visit(self._visits.due())
            await self._hub.close_slow_subscribers(deadline=self._write_deadline)
            await self._hub.trim(now_ms=int(self._timing.wall_clock() * 1000))

    async def _visit(self, due: list[Subscriber]) -> None:
        time_slice = self._timing.time_slice()
        for some in batched(due, self._timing.stride):
            now = self._timing.clock()
            for subscriber in some:
                if subscriber.expires_at <= now and not subscriber.transport.busy:
                    self._hub.close(subscriber, CloseReason.TOO_OLD)
                elif subscriber.open:
                    self._hub.keep_alive(subscriber)
                    self._schedule(subscriber, now=now)
            if time_slice.expired:
                await time_slice.pause()

    def _jittered(self, seconds: float) -> float:
        return seconds * self._timing.random.uniform(1 - JITTER, 1 + JITTER)
