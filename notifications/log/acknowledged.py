"""What this process told publishers it had kept, so that it can tell when the log has not."""

import threading
from collections.abc import Iterable

from notifications.cursors import Cursor
from notifications.log.base import Receipt


class Acknowledged:
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


here = Acknowledged()
