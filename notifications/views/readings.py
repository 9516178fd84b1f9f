"""Readings: the exports that this process is making, each of which may read all of the log."""

from typing import Self
from weakref import WeakSet

from notifications.errors import TooMany

MOST = 20
RETRY_AFTER = 5


class Reading:
    """One of them: over when it is left, or when nobody holds it. A response may never begin."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _open.discard(self)


_open: WeakSet[Reading] = WeakSet()


def begin() -> Reading:
    """Raises `TooMany` while there are as many as there may be."""
    if len(_open) >= MOST:
        raise TooMany(
            f"This process is making {MOST} exports already: come back when one has ended.",
            retry_after=RETRY_AFTER,
        )
    reading = Reading()
    _open.add(reading)
    return reading
