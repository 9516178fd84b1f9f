"""Turns: many who are to be served at once, one after another and in slices."""

import asyncio
from collections import deque
from collections.abc import Callable

from notifications.breath import Breath


class Turns[T]:
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
        breath = Breath()
        try:
            while self._next:
                self._serve(self._next.popleft())
                if breath.due:
                    break
        finally:
            self._going = bool(self._next)
            if self._next:
                self._loop.call_soon(self._go)
