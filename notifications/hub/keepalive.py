"""What happens without events: keep-alives, deadlines, and what grows too old."""

import asyncio
import random
import time

from notifications.hub.hub import Hub
from notifications.hub.scheduling import TimerWheel, TimeSlice
from notifications.hub.subscribers import CloseReason, Subscriber

TICK = 0.1
JITTER = 0.25
BUSY = 1.0
"""After how long one that is too old and cannot be told is visited again."""


class KeepAlive:
    """Each subscriber is visited every `period` seconds, give or take a quarter.

    So the keep-alives of a process are spread over time. A stream that is older than `max_age`,
    give or take a quarter, ends instead; with 0 none does.
    """

    def __init__(
        self, hub: Hub, *, period: float, write_deadline: float, max_age: float = 0
    ) -> None:
        self._hub = hub
        self._period = period
        self._write_deadline = write_deadline
        self._max_age = max_age
        self._visits: TimerWheel[Subscriber] = TimerWheel(TICK)
        self._told: TimerWheel[Subscriber] = TimerWheel(TICK)
        self._loop = asyncio.get_running_loop()

    def add(self, subscriber: Subscriber) -> None:
        if self._max_age:
            subscriber.until = self._loop.time() + _jittered(self._max_age)
        self._file(subscriber)

    def _file(self, subscriber: Subscriber) -> None:
        left = max(BUSY, subscriber.until - self._loop.time())
        self._visits.add(subscriber, after=min(_jittered(self._period), left))

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(TICK)
            await self._visit(self._visits.due())
            await self._look_after(self._told.due())
            await self._hub.close_the_slow(deadline=self._write_deadline)
            await self._hub.trim(now_ms=time.time_ns() // 1_000_000)

    async def _visit(self, due: list[Subscriber]) -> None:
        time_slice = TimeSlice()
        now = self._loop.time()
        for subscriber in due:
            if subscriber.until <= now and not subscriber.transport.busy:
                self._hub.close(subscriber, CloseReason.TOO_OLD)
            elif subscriber.open:
                self._hub.keep_alive(subscriber)
                self._file(subscriber)
                self._told.add(subscriber, after=self._write_deadline)
            if time_slice.due:
                await time_slice.take()

    async def _look_after(self, told: list[Subscriber]) -> None:
        """Close the streams of clients that did not even acknowledge their last keep-alive.

        What they do not take fits into the kernel's buffer, so no write would ever fail.
        """
        time_slice = TimeSlice()
        for subscriber in told:
            if subscriber.open and subscriber.transport.unanswered(self._write_deadline):
                self._hub.close(subscriber, CloseReason.TOO_SLOW)
            if time_slice.due:
                await time_slice.take()


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
