"""Scheduling on one event loop: time slices, a fair queue, and a timer wheel."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field
from typing import Any, Protocol

STRIDE = 16
"""A loop over small steps, such as writes to a socket, reads the clock only after each `STRIDE`
steps."""
SLICE_SECONDS = 0.002


class TimeSlice:
    """Limits how long a piece of work holds the event loop before it lets other work run."""

    def __init__(
        self, seconds: float = SLICE_SECONDS, *, clock: Callable[[], float] | None = None
    ) -> None:
        self._seconds = seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._end = self._clock() + seconds

    @property
    def expired(self) -> bool:
        return self._clock() > self._end

    async def pause(self) -> None:
        """Let other work run once, then begin the next slice."""
        await asyncio.sleep(0)
        self._end = self._clock() + self._seconds


class Randomness(Protocol):
    """The part of the module `random` that the hub uses; a seeded `random.Random` has it too."""

    def random(self) -> float: ...

    def uniform(self, a: float, b: float, /) -> float: ...

    def shuffle(self, x: MutableSequence[Any], /) -> None: ...


def _loop_clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The clocks, the randomness and the slicing of one hub and all that runs beside it.

    The defaults are those of the running event loop and of the system; a test or a simulation
    passes its own.
    """

    clock: Callable[[], float] = field(default_factory=_loop_clock)
    """Seconds that never go back."""
    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    random: Randomness = random
    time_slice: Callable[[], TimeSlice] = TimeSlice
    stride: int = STRIDE


class FairQueue[T]:
    """Serves items soon, in the order in which they were added, in slices of time."""

    def __init__(
        self, serve: Callable[[T], object], *, time_slice: Callable[[], TimeSlice] = TimeSlice
    ) -> None:
        self._serve = serve
        self._time_slice = time_slice
        self._items: deque[T] = deque()
        self._scheduled = False
        self._loop = asyncio.get_running_loop()

    def add(self, item: T) -> None:
        self._items.append(item)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        time_slice = self._time_slice()
        try:
            while self._items:
                self._serve(self._items.popleft())
                if time_slice.expired:
                    break
        finally:
            self._scheduled = bool(self._items)
            if self._items:
                self._loop.call_soon(self._run)


class TimerWheel[T]:
    """A timer wheel: items filed by the tick in which they are due.

    A tick costs only the items that are due in it, however many the wheel holds. No item is due
    early.
    """

    def __init__(self, tick_seconds: float, *, clock: Callable[[], float] | None = None) -> None:
        self._tick_seconds = tick_seconds
        self._clock = clock or asyncio.get_running_loop().time
        self._due: dict[int, tuple[int, dict[T, None]]] = {}
        self._last_tick = self._current_tick

    def __len__(self) -> int:
        return sum(len(items) for _, items in self._due.values())

    @property
    def _current_tick(self) -> int:
        return int(self._clock() / self._tick_seconds)

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(self, item: T, *, after: float, now: float | None = None) -> int:
        """File an item that is due in `after` seconds. Returns its tick, for `remove`.

        The number is the same object for all items of a tick, so to keep it costs no memory. `now`:
        the time by the wheel's clock, if the caller has just read it.
        """
        now = self._clock() if now is None else now
        if not self._due:
            # The wheel may have been at rest for long, and no tick of that time has an item.
            self._last_tick = max(self._last_tick, int(now / self._tick_seconds))
        tick = int((now + max(0.0, after)) / self._tick_seconds) + 1
        filed = self._due.get(tick)
        if filed is None:
            filed = self._due[tick] = (tick, {})
        filed[1][item] = None
        return filed[0]

    def remove(self, item: T, tick: int) -> None:
        """Take an item out; it may have been due already."""
        filed = self._due.get(tick)
        if filed is not None:
            filed[1].pop(item, None)
            if not filed[1]:
                del self._due[tick]

    def due(self) -> list[T]:
        """Take out every item that is due by now."""
        now = self._current_tick
        due: list[T] = []
        for tick in range(self._last_tick + 1, now + 1):
            if tick in self._due:
                due += self._due.pop(tick)[1]
        self._last_tick = now
        return due
