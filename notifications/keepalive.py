"""What happens without events: keep-alives, deadlines, and history that grows too old."""

import asyncio
import random
import time
from collections import defaultdict

from notifications.breath import Breath
from notifications.hub import Hub
from notifications.subscribers import CloseReason, Subscriber

TICK = 0.1
JITTER = 0.25


class KeepAlive:
    """Each subscriber is visited every `period` seconds, give or take a quarter.

    A timing wheel: visits are filed by the tick they are due in, so a tick costs what is due in it,
    and the keep-alives of a process are spread over time.
    """

    def __init__(self, hub: Hub, *, period: float, write_deadline: float) -> None:
        self._hub = hub
        self._period = period
        self._write_deadline = write_deadline
        self._wheel: dict[int, list[Subscriber]] = defaultdict(list)
        self._told: dict[int, list[Subscriber]] = defaultdict(list)
        self._loop = asyncio.get_running_loop()

    def add(self, subscriber: Subscriber) -> None:
        pause = self._period * random.uniform(1 - JITTER, 1 + JITTER)
        self._wheel[self._tick(self._loop.time() + pause) + 1].append(subscriber)

    async def run(self) -> None:
        """For ever."""
        done = self._tick(self._loop.time())
        while True:
            await asyncio.sleep(TICK)
            now = self._tick(self._loop.time())
            for tick in range(done + 1, now + 1):
                await self._visit(self._wheel.pop(tick, []))
                await self._look_after(self._told.pop(tick, []))
            done = now
            await self._hub.close_the_slow(deadline=self._write_deadline)
            await self._hub.trim(now_ms=time.time_ns() // 1_000_000)

    async def _visit(self, due: list[Subscriber]) -> None:
        breath = Breath()
        deadline = self._tick(self._loop.time() + self._write_deadline) + 1
        for subscriber in due:
            if subscriber.open:
                self._hub.keep_alive(subscriber)
                self.add(subscriber)
                self._told[deadline].append(subscriber)
            if breath.due:
                await breath.take()

    async def _look_after(self, told: list[Subscriber]) -> None:
        """Close the streams of clients that did not even acknowledge their last keep-alive.

        What they do not take fits into the kernel's buffer, so no write would ever fail.
        """
        breath = Breath()
        for subscriber in told:
            if subscriber.open and subscriber.wire.unanswered(self._write_deadline):
                self._hub.close(subscriber, CloseReason.TOO_SLOW)
            if breath.due:
                await breath.take()

    def _tick(self, moment: float) -> int:
        return int(moment / TICK)
