"""Payloads that are made once for many subscribers: chunks of events, and keep-alives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notifications.hub.encoders import Encoder
from notifications.hub.scheduling import STRIDE
from notifications.hub.subscribers import Audience
from notifications.log.cursors import Cursor, Position
from notifications.log.records import Entry
from notifications.transport.base import Payload

MAX_CHUNK_BYTES = 64 * 1024
"""The most that a transport gets at once, unless a single event is larger."""
MAX_CACHED_ENCODERS = 100


@dataclass(frozen=True, slots=True)
class Chunk:
    """The blocks of `count` events, from the one at `first` to the one at `last`.

    `skip`: the subjects that at least one of the events skips. The chunk is not for their
    subscribers.
    """

    first: Position
    last: Position
    payload: Payload
    count: int
    skip: frozenset[str]


def pack(entries: Sequence[Entry], audience: Audience, epoch: str) -> Iterator[Chunk]:
    """Encode the entries for an audience, in as few chunks as possible. `entries` is not empty.

    No chunk covers an entry for which the encoder has nothing to say.
    """
    encoder, topics = audience.encoder, audience.topics
    blocks: list[bytes] = []
    size = 0
    skip: frozenset[str] = frozenset()
    first = last = entries[0].position
    for entry in entries:
        block = encoder.event(epoch, entry, topics)
        if not block:
            continue
        if not blocks:
            first = entry.position
        elif size + len(block) > MAX_CHUNK_BYTES:
            yield Chunk(first, last, Payload(b"".join(blocks)), len(blocks), skip)
            blocks, size, first, skip = [], 0, entry.position, frozenset()
        blocks.append(block)
        size += len(block)
        last = entry.position
        if entry.skip:
            skip |= entry.skip
    if blocks:
        yield Chunk(first, last, Payload(b"".join(blocks)), len(blocks), skip)


@dataclass(slots=True)
class _KeepAlive:
    epoch: str
    position: Position
    payload: Payload
    uses_left: int


class KeepAliveCache:
    """The latest keep-alive of each encoder, for a few subscribers at the same position.

    Only a few share one, because a keep-alive also carries the pause before a reconnect: clients
    that lose their connections at the same time must not all return at the same time.
    """

    def __init__(self, *, uses: int = STRIDE) -> None:
        self._uses = uses
        self._latest: dict[Encoder, _KeepAlive] = {}

    def at(self, epoch: str, position: Position, encoder: Encoder) -> Payload:
        keepalive = self._latest.get(encoder)
        if (
            keepalive is None
            or not keepalive.uses_left
            or keepalive.position != position
            or keepalive.epoch != epoch
        ):
            if len(self._latest) >= MAX_CACHED_ENCODERS:
                self._latest.clear()
            payload = Payload(encoder.cursor(Cursor(epoch, position)))
            keepalive = self._latest[encoder] = _KeepAlive(epoch, position, payload, self._uses)
        keepalive.uses_left -= 1
        return keepalive.payload
