"""Acknowledgements: which positions publishers were promised, and how to repeat a lost append."""

import random
import threading
import time
from collections.abc import Callable, Iterable

from notifications.errors import Unavailable
from notifications.log import script
from notifications.log.backoff import Backoff, Uniform
from notifications.log.cursors import Cursor
from notifications.log.entries import Receipt

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.2
LEAST_SECONDS = 0.01


class HighWaterMarks:
    """The highest position of each log that this process has acknowledged to any publisher.

    A log that does not reach that far after a reconnect has lost acknowledged events.
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


high_water_marks = HighWaterMarks()
"""The marks of this process, for all instances of a log."""


class AppendRetry:
    """One `append` and its repetitions, within its timeout. It sends nothing itself.

    `before` is a cursor that the log had reached before the first attempt.
    """

    def __init__(
        self,
        command: script.Command,
        *,
        before: Cursor | None,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Uniform = random.uniform,
    ) -> None:
        self.command = command
        self._before = before
        self._clock = clock
        self._deadline = clock() + timeout
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, uniform=uniform)
        self._doubt: Unavailable | None = None

    @property
    def remaining(self) -> float:
        """Seconds, and never 0: redis-py takes a timeout of 0 for 'do not block at all'."""
        return max(self._deadline - self._clock(), LEAST_SECONDS)

    def pause_after(self, error: Unavailable) -> float:
        """Prepare `command` for another attempt, and return the pause before it in seconds.

        Raises the error for the publisher if the log certainly kept nothing, or if no time is left.
        An outcome that was in doubt once stays in doubt, whatever a later attempt brings.
        """
        if self._doubt is None:
            if error.outcome == "not_sent":
                raise error
            self._doubt = error
            self.command = script.repetition(self.command, self._before)
        pause = self._backoff.next_pause()
        if pause >= self.remaining:
            raise self._doubt
        return pause
