"""How much of the log is asked for at once."""

from collections.abc import Sequence

from notifications.log.reader import Raw

FEWEST, FIRST, MOST = 8, 100, 500
BYTES = 4 * 1024 * 1024
SAMPLE = 32
"""So many entries of a read are measured: this is asked of every one."""


class Portion:
    """So many entries that a lag is soon made up for, and so few that they are not too many bytes.

    A read is held in memory as a whole, and parsed while everything else waits. Nobody can ask for
    bytes, so this goes by the last read: more if that was full and small, fewer if it was large.
    """

    def __init__(self, *, first: int = FIRST, most_bytes: int = BYTES) -> None:
        self.count = first
        self._most_bytes = most_bytes

    def took(self, raw: Sequence[Raw]) -> None:
        """What the last read brought, which may have been less than it asked for."""
        if len(raw) < self.count:
            self.count = min(self.count, max(FIRST, 2 * len(raw)))
            return
        sample = raw[:: max(1, len(raw) // SAMPLE)]
        measured = sum(len(value) for _, given in sample for value in given)
        size = measured * len(raw) // len(sample)
        if size * 2 <= self._most_bytes:
            self.count = min(MOST, 2 * self.count)
        elif size > self._most_bytes:
            self.count = max(FEWEST, self.count * self._most_bytes // size)
