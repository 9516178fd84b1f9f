"""Chunks: the blocks of several events, made once for everyone who wants the same."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from notifications.hub.encoders import Encoder
from notifications.hub.scheduling import STRIDE
from notifications.log.base import Entry
from notifications.log.cursors import Cursor, Position
from notifications.transport.base import Payload

MAX_CHUNK = 64 * 1024
"""Bytes that a wire is handed at once, unless one event alone is larger."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The blocks from the event at `first` to the one at `last`.

    `skip`: the subjects that one of them passes over, and for whom it therefore is not.
    """

    first: Position
    last: Position
    payload: Payload
    count: int
    """How many events it holds."""
    skip: frozenset[str]


def pack(entries: Sequence[Entry], block: Callable[[Entry], bytes]) -> Iterator[Chunk]:
    """The entries, of which there is at least one, in as few chunks as hold them."""
    pieces: list[bytes] = []
    size = 0
    skip: frozenset[str] = frozenset()
    first = last = entries[0].position
    for entry in entries:
        piece = block(entry)
        if pieces and size + len(piece) > MAX_CHUNK:
            yield Chunk(first, last, Payload(b"".join(pieces)), len(pieces), skip)
            pieces, size, first, skip = [], 0, entry.position, frozenset()
        pieces.append(piece)
        size += len(piece)
        last = entry.position
        if entry.skip:
            skip |= entry.skip
    yield Chunk(first, last, Payload(b"".join(pieces)), len(pieces), skip)


# Keep-alives, of which many are the same.


@dataclass(slots=True)
class _KeepAlive:
    at: Cursor
    payload: Payload
    left: int


MAX_ENCODERS = 100


class KeepAliveCache:
    """Few share one, since it also says when to come back: not all at once."""

    def __init__(self) -> None:
        self._last: dict[Encoder, _KeepAlive] = {}

    def at(self, cursor: Cursor, encoder: Encoder) -> Payload:
        keepalive = self._last.get(encoder)
        if keepalive is None or not keepalive.left or keepalive.at != cursor:
            if len(self._last) >= MAX_ENCODERS:
                self._last.clear()
            keepalive = self._last[encoder] = _KeepAlive(
                cursor, Payload(encoder.cursor(cursor)), STRIDE
            )
        keepalive.left -= 1
        return keepalive.payload
