"""How many rows the relay takes at once."""

from collections.abc import Sequence

from notifications.outbox.rows import Row

FIRST, MOST = 100, 500
BYTES = 2 * 1024 * 1024


class Portion:
    """Many while all goes well, so that a backlog is soon made up for, and not too many bytes.

    Fewer where they were not taken: the batch may be too much for the log, or one row of it.
    """

    def __init__(self) -> None:
        self.count = FIRST

    def took(self, rows: Sequence[Row]) -> None:
        size = sum(len(row.data) for row in rows)
        if size > BYTES:
            self.count = max(1, self.count * BYTES // size)
        elif len(rows) >= self.count and size * 2 <= BYTES:
            self.count = min(MOST, self.count * 2)

    def failed(self, rows: Sequence[Row]) -> None:
        self.count = max(1, len(rows) // 2)
