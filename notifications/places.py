"""Places: where in the window a stream goes on from."""

from notifications.cursors import Cursor, Position
from notifications.errors import Invalid
from notifications.log.base import ResetReason
from notifications.subscribers import Start
from notifications.window import Window


def place_of(start: Start, window: Window, epoch: str) -> tuple[Position, ResetReason | None]:
    """Where a stream goes on from. A cursor ahead of this process is taken at its word."""
    head = window.head
    if start.since_ms is not None:
        return window.place_at(start.since_ms), None
    if start.cursor is None:
        return head, None
    cursor = start.cursor
    if isinstance(cursor, str):
        try:
            cursor = Cursor.parse(cursor)
        except Invalid:
            return head, ResetReason.UNKNOWN
    if cursor.epoch != epoch:
        return head, ResetReason.LOG_LOST
    if cursor.position < window.floor:
        return head, ResetReason.TRIMMED
    return cursor.position, None
