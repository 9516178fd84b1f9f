"""Waiting for a condition that other tasks of the same event loop bring about."""

import asyncio
from collections.abc import Callable


class Changes:
    """Wakes the tasks that wait for a condition, each time that something has changed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        changed, self._next = self._next, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait without a deadline: the caller sets one."""
        while not condition():
            await self._next.wait()
