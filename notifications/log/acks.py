"""Publishing again what nobody knows the outcome of: pure code, for both ways into Redis."""

import random
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from notifications.errors import Unavailable
from notifications.log import script
from notifications.log.base import Receipt
from notifications.log.cursors import Cursor

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.2
LEAST = 0.01


class AppendRetry:
    """One `append`, and the time it has. `before` is a place that the log had reached before it."""

    def __init__(self, call: Sequence[Any], *, before: Cursor | None, timeout: float) -> None:
        self.call = call
        self._before = before
        self._until = time.monotonic() + timeout
        self._pause = FIRST_PAUSE
        self._doubt: Unavailable | None = None

    @property
    def left(self) -> float:
        """Seconds, and always some: none would mean something else."""
        return max(self._until - time.monotonic(), LEAST)

    def pause_after(self, error: Unavailable) -> float:
        """For how long to wait before `call` is tried again.

        Raises what the publisher is to be told, where there is no doubt or no time. What was once
        in doubt stays so, whatever becomes of a later attempt.
        """
        if self._doubt is None:
            if error.outcome == "not_sent":
                raise error
            self._doubt = error
            self.call = script.repetition(self.call, self._before)
        pause = self._pause * random.uniform(0.5, 1.5)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if pause >= self.left:
            raise self._doubt
        return pause


# What this process told publishers it had kept, so that it can tell when the log has not.


class HighWaterMarks:
    """The highest position that this process told a publisher it had kept, whoever appended it.

    If the log does not reach that far after a reconnect, it lost what was acknowledged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, Cursor] = {}

    def note(self, log: str, receipts: Iterable[Receipt]) -> None:
        with self._lock:
            for receipt in receipts:
                mark = self._marks.get(log)
                if (
                    mark is None
                    or mark.epoch != receipt.cursor.epoch
                    or mark.position < receipt.cursor.position
                ):
                    self._marks[log] = receipt.cursor

    def mark(self, log: str) -> Cursor | None:
        return self._marks.get(log)


here = HighWaterMarks()
