"""Which positions publishers were promised, and which were read."""

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from functools import partial

from notifications.log.cursors import Cursor
from notifications.log.entries import Receipt

MAX_EPOCHS = 16
"""How many epochs before the last one a process remembers."""


class HighWaterMarks:
    """The highest position of each log that this process has acknowledged or read.

    A log that lacks the entry there after a reconnect has lost events.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, Cursor] = {}
        self._earlier: defaultdict[str, deque[str]] = defaultdict(partial(deque, maxlen=MAX_EPOCHS))

    def note(self, log: str, receipts: Sequence[Receipt]) -> None:
        """`receipts`: of one call, whose new entries have growing positions in one epoch."""
        new = [receipt for receipt in receipts if not receipt.duplicate]
        cursors = [
            receipt.cursor for receipt in receipts if receipt.duplicate or receipt is new[-1]
        ]
        with self._lock:
            for cursor in cursors:
                mark = self._marks.get(log)
                if mark is None or mark.epoch != cursor.epoch or mark.position < cursor.position:
                    self._set(log, cursor)

    def reach(self, log: str, cursor: Cursor) -> None:
        """The tail has read up to here. What was acknowledged meanwhile is further ahead."""
        with self._lock:
            mark = self._marks.get(log)
            if mark is None or mark.position < cursor.position:
                self._set(log, cursor)

    def _set(self, log: str, cursor: Cursor) -> None:
        mark = self._marks.get(log)
        if mark is not None and mark.epoch != cursor.epoch:
            self._earlier[log].append(mark.epoch)
        self._marks[log] = cursor

    def has_gone_back(self, log: str, epoch: str) -> bool:
        """Whether the epoch ended before the one that this process knows: it is an old copy."""
        with self._lock:
            mark = self._marks.get(log)
            return mark is not None and mark.epoch != epoch and epoch in self._earlier[log]

    def mark(self, log: str) -> Cursor | None:
        return self._marks.get(log)


high_water_marks = HighWaterMarks()
"""The marks of this process, for all instances of a log."""
