"""What an async iterable yields, for a template, which knows no other way than to ask for it."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any


def is_unread(value: object) -> bool:
    """Whether its items can only be had by waiting."""
    return hasattr(type(value), "__aiter__") and not hasattr(type(value), "__iter__")


class Items:
    """Each is waited for when it is asked for, and not before.

    All can be looped over as often as a list if they are kept, and once if not.
    """

    def __init__(self, wait_for_next: Callable[[], Any], *, keep: bool) -> None:
        self._wait_for_next = wait_for_next
        self._keep = keep
        self._here: deque[Any] = deque()
        self._gone = 0
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while self.has(position):
            yield self._here[position - self._gone]
            position += 1
            if not self._keep:
                self._here.popleft()
                self._gone += 1

    def has(self, position: int) -> bool:
        """Whether there is an item there: as long as that is not known, it is waited for."""
        while self._gone + len(self._here) <= position and not self._ended:
            try:
                self._here.append(self._wait_for_next())
            except StopAsyncIteration:
                self._ended = True
        return position < self._gone + len(self._here)

    def count(self) -> int:
        """How many there are, once all are there."""
        while not self._ended:
            self.has(self._gone + len(self._here))
        return self._gone + len(self._here)
