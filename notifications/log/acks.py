"""Which positions publishers were promised, and which were read."""

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from notifications.log.cursors import Cursor, Position
from notifications.log.entries import Receipt

MAX_EPOCHS = 16
"""How many epochs before the last one a process remembers."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest known position of a log, and that of the last event up to there.

    They differ if the entry at the first is a control entry. The log deletes the oldest of too many
    control entries from among its events, but events only with all that is older.
    """

    cursor: Cursor
    event: Position


class HighWaterMarks:
    """The highest position of each log that this process has acknowledged or read.

    A log that lacks the entry there after a reconnect, and has not removed it, has lost entries.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, Mark] = {}
        self._earlier: defaultdict[str, deque[str]] = defaultdict(partial(deque, maxlen=MAX_EPOCHS))

    def note(self, log: str, receipts: Sequence[Receipt]) -> None:
        """`receipts`: of one call, whose new entries have growing positions in one epoch."""
        new = [receipt for receipt in receipts if not receipt.duplicate]
        repeated = [receipt.cursor for receipt in receipts if receipt.duplicate]
        with self._lock:
            for cursor in [receipt.cursor for receipt in new[-1:]]:
                self._set(log, cursor, cursor.position)
            for cursor in repeated:
                mark = self._marks.get(log)
                # What was kept in an epoch that has ended says nothing of the one that is known.
                if mark is None or mark.cursor.epoch == cursor.epoch:
                    self._set(log, cursor, cursor.position)

    def reach(self, log: str, cursor: Cursor, event: Position) -> None:
        """The log has an entry here, and the last event up to there is known to be at `event`.

        What was acknowledged meanwhile is further ahead.
        """
        with self._lock:
            mark = self._marks.get(log)
            if mark is None or mark.cursor.position < cursor.position:
                self._set(log, cursor, event)

    def _set(self, log: str, cursor: Cursor, event: Position) -> None:
        mark = self._marks.get(log)
        if mark is not None and mark.cursor.epoch == cursor.epoch:
            cursor = max(cursor, mark.cursor, key=lambda known: known.position)
            event = max(event, mark.event)
        elif mark is not None:
            self._earlier[log].append(mark.cursor.epoch)
        self._marks[log] = Mark(cursor, event)

    def has_gone_back(self, log: str, epoch: str) -> bool:
        """Whether the epoch ended before the one that this process knows: it is an old copy."""
        with self._lock:
            mark = self._marks.get(log)
            return mark is not None and mark.cursor.epoch != epoch and epoch in self._earlier[log]

    def mark(self, log: str) -> Mark | None:
        return self._marks.get(log)


high_water_marks = HighWaterMarks()
"""The marks of this process, for all instances of a log."""
