"""Positions in the log, and cursors: what a client sends back to resume where it stopped."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NewType

from notifications.errors import Invalid

Position = NewType("Position", int)
"""The position of an entry in the log. Ordered; opaque outside this module and the log.

It is a Redis stream id `<ms>-<n>` as one number (`ms << 64 | n`), because a window holds a hundred
thousand positions, and a number takes a quarter of the memory of a tuple.
"""

START = Position(0)
_COUNTER_BITS = 64
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1

# Two clocks measure the same seconds, and positions have whole milliseconds.
_CLOCK_DRIFT = 0.001
_CLOCK_SLACK_MS = 10

_VERSION = "1"
_CURSOR = re.compile(r"1\.([0-9a-z]{8,32})\.([0-9]{1,18})-([0-9]{1,20})", re.ASCII)


def make_position(ms: int, n: int = 0) -> Position:
    return Position(ms << _COUNTER_BITS | n)


def parse_position(text: bytes) -> Position:
    """Parse Redis' own notation, `<ms>-<n>`."""
    ms, _, n = text.partition(b"-")
    return Position(int(ms) << _COUNTER_BITS | int(n))


def parse_positions(texts: Iterable[bytes]) -> list[Position]:
    """As `parse_position`. Most have the time of the one before, which is parsed only once."""
    positions = list[Position]()
    time, length, first = b" ", 0, START
    for text in texts:
        if not text.startswith(time):
            length = text.index(b"-") + 1
            time, first = text[:length], parse_position(text[:length] + b"0")
        positions.append(Position(first | int(text[length:])))
    return positions


def format_position(position: Position) -> str:
    return f"{position >> _COUNTER_BITS}-{position & _COUNTER_MASK}"


def position_ms(position: Position) -> int:
    """The time of a position: milliseconds since 1970, by the clock of the log."""
    return position >> _COUNTER_BITS


def position_before(head: Position, clock_ms: int, seconds: float) -> Position:
    """A position that was reached so many `seconds` ago: all that was appended since follows it.

    `head` is the last position and `clock_ms` the clock of the log, both read at the end of these
    seconds or before.
    """
    ago_ms = int(seconds * 1000 * (1 + _CLOCK_DRIFT)) + _CLOCK_SLACK_MS
    return min(head, Position(max(0, make_position(max(0, clock_ms - ago_ms)) - 1)))


def is_of_time(position: Position) -> bool:
    """Whether `position_before` made this of a time: no entry has such a counter."""
    return position & _COUNTER_MASK == _COUNTER_MASK


def format_time(ms: int) -> str:
    """ISO 8601, in UTC, to the millisecond."""
    seconds, fraction_ms = divmod(ms, 1000)
    return f"{_format_second(seconds)}.{fraction_ms:03d}+00:00"


# Most events have the same second as the event before.
@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def cursor_prefix(epoch: str) -> str:
    """What precedes the position, in Redis' own notation, in the text of a cursor."""
    return f"{_VERSION}.{epoch}."


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position, and the epoch to which it belongs. Its text is the `id:` in an event stream."""

    epoch: str
    position: Position

    def __str__(self) -> str:
        return cursor_prefix(self.epoch) + format_position(self.position)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises `Invalid` for any text that `str(cursor)` cannot have made."""
        match = _CURSOR.fullmatch(text)
        if match is not None and int(match[3]) <= _COUNTER_MASK:
            cursor = cls(match[1], make_position(int(match[2]), int(match[3])))
            if str(cursor) == text:
                return cursor
        raise Invalid("This is not a cursor.")
