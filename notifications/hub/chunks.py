"""Chunks: the blocks of several events, made once for everyone who wants the same."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from notifications.hub.encoders import Form
from notifications.hub.scheduling import STRIDE
from notifications.log.base import Entry
from notifications.log.cursors import Cursor, Position
from notifications.transport.base import Parcel

MAX_CHUNK = 64 * 1024
"""Bytes that a wire is handed at once, unless one event alone is larger."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The blocks from the event at `first` to the one at `last`.

    `skip`: the subjects that one of them passes over, and for whom it therefore is not.
    """

    first: Position
    last: Position
    parcel: Parcel
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
            yield Chunk(first, last, Parcel(b"".join(pieces)), len(pieces), skip)
            pieces, size, first, skip = [], 0, entry.position, frozenset()
        pieces.append(piece)
        size += len(piece)
        last = entry.position
        if entry.skip:
            skip |= entry.skip
    yield Chunk(first, last, Parcel(b"".join(pieces)), len(pieces), skip)


# Keep-alives, of which many are the same.


@dataclass(slots=True)
class _Pulse:
    at: Cursor
    parcel: Parcel
    left: int


MAX_FORMS = 100


class Pulses:
    """Few share one, since it also says when to come back: not all at once."""

    def __init__(self) -> None:
        self._last: dict[Form, _Pulse] = {}

    def at(self, cursor: Cursor, form: Form) -> Parcel:
        pulse = self._last.get(form)
        if pulse is None or not pulse.left or pulse.at != cursor:
            if len(self._last) >= MAX_FORMS:
                self._last.clear()
            pulse = self._last[form] = _Pulse(cursor, Parcel(form.cursor(cursor)), STRIDE)
        pulse.left -= 1
        return pulse.parcel
