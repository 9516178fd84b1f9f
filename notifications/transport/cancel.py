"""A cancel scope: it ends the wait for a client from outside of the waiting task, without an error.

The standard library has this only for deadlines (`asyncio.timeout`).
"""

import asyncio
from types import TracebackType
from typing import Self


class CancelScope:
    """A `with` block whose `await` ends when somebody calls `cancel`.

    The task goes on after the block. A cancellation by anybody else passes through the block.
    """

    __slots__ = ("_cancelled", "_task")

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled = False
        return self

    def cancel(self) -> None:
        self._cancelled = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not (self._cancelled and isinstance(error, asyncio.CancelledError)):
            return False
        self._task.uncancel()
        return True
