"""The positions in a window that entries had which are no events, or which were deleted."""

from bisect import bisect_right

from notifications.log.cursors import Position, is_of_time
from notifications.log.entries import Batch


class OtherPositions:
    """Ranges of positions, in the order of the log."""

    def __init__(self) -> None:
        self._first: list[Position] = []
        self._last: list[Position] = []

    def __len__(self) -> int:
        return len(self._first)

    def add(self, batch: Batch) -> None:
        for first, last in batch.others:
            self._first.append(first)
            self._last.append(last)
        ends = [*(record[0] for record in batch.records[-1:]), *self._last[-1:]]
        if batch.last not in ends:  # an entry of a kind that this version does not know
            self._first.append(batch.last)
            self._last.append(batch.last)

    def forget(self, floor: Position) -> None:
        if below := bisect_right(self._last, floor):
            del self._first[:below], self._last[:below]

    def has(self, position: Position) -> bool:
        """Also a position that was made of a time, which no entry ever has."""
        count = bisect_right(self._first, position)
        return is_of_time(position) or (count > 0 and position <= self._last[count - 1])
