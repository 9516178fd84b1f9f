"""Ending the task that waits for a client, from outside of it and without an error."""

import asyncio
from types import TracebackType
from typing import Self


class CancelScope:
    """What is awaited in its block ends when the wire says that there is no use in waiting.

    Any other cancellation of the task passes.
    """

    __slots__ = ("_given_up", "_task")

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._given_up = False
        return self

    def now(self) -> None:
        self._given_up = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not (self._given_up and isinstance(error, asyncio.CancelledError)):
            return False
        self._task.uncancel()
        return True
