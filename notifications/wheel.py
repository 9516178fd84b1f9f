"""A timing wheel: what is due at some moment, filed by the tick in which that is."""

import asyncio


class Wheel[T]:
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
