"""Work that is long in sum, in slices that are not."""

import asyncio
from collections import deque
from collections.abc import Callable

STRIDE = 16
"""So many small steps, such as writes to a socket, are worth a look at the clock."""


class TimeSlice:
    """Lets the event loop go on when a piece of work has held it for long enough."""

    SLICE = 0.002

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + self.SLICE

    @property
    def due(self) -> bool:
        return self._loop.time() > self._until

    async def take(self) -> None:
        await asyncio.sleep(0)
        self._until = self._loop.time() + self.SLICE


# Turns: many who are to be served at once, one after another and in slices.


class FairQueue[T]:
    """Serves each soon, in the order that they came, and lets the event loop go on meanwhile."""

    def __init__(self, serve: Callable[[T], object]) -> None:
        self._serve = serve
        self._next: deque[T] = deque()
        self._going = False
        self._loop = asyncio.get_running_loop()

    def add(self, one: T) -> None:
        self._next.append(one)
        if not self._going:
            self._going = True
            self._loop.call_soon(self._go)

    def _go(self) -> None:
        time_slice = TimeSlice()
        try:
            while self._next:
                self._serve(self._next.popleft())
                if time_slice.due:
                    break
        finally:
            self._going = bool(self._next)
            if self._next:
                self._loop.call_soon(self._go)


# A timing wheel: what is due at some moment, filed by the tick in which that is.


class TimerWheel[T]:
    """A tick costs what is due in it, however much there is in all. Nothing is due early.

    Lives in one event loop.
    """

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._due: dict[int, dict[T, None]] = {}
        self._loop = asyncio.get_running_loop()
        self._done = self._now

    def __len__(self) -> int:
        return sum(map(len, self._due.values()))

    @property
    def _now(self) -> int:
        return int(self._loop.time() / self._tick)

    def add(self, thing: T, *, after: float) -> int:
        """File it for so many seconds from now. What is returned finds it again."""
        place = int((self._loop.time() + max(0.0, after)) / self._tick) + 1
        self._due.setdefault(place, {})[thing] = None
        return place

    def remove(self, thing: T, place: int) -> None:
        """It is no longer due, if it still was."""
        filed = self._due.get(place)
        if filed is not None:
            filed.pop(thing, None)
            if not filed:
                del self._due[place]

    def due(self) -> list[T]:
        """Take out everything whose moment has come."""
        now = self._now
        found: list[T] = []
        for place in range(self._done + 1, now + 1):
            found += self._due.pop(place, ())
        self._done = now
        return found
