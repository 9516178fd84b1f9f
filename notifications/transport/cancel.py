"""A cancel scope: it ends the wait for a client from outside of the waiting task, without an error.

The standard library has this only for deadlines (`asyncio.timeout`).
"""

import asyncio
from types import TracebackType
from typing import Self


class CancelScope:
    """A `with` block whose `await` ends when somebody calls `cancel`.

    The task goes on after the block. A cancellation by anybody else passes through the block. After
    the block the scope does not refer to the task, and `cancel` has no effect.
    """

    __slots__ = ("_cancelled", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        return self

    def cancel(self) -> None:
        if self._task is None:
            return
        if self._task is asyncio.current_task():
            # What it awaits next may end without waiting. Then the cancellation would come later,
            # after the block.
            asyncio.get_running_loop().call_soon(self._cancel_task)
        else:
            self._cancel_task()

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        task, self._task = self._task, None
        if task is None or not (self._cancelled and isinstance(error, asyncio.CancelledError)):
            return False
        task.uncancel()
        return True
