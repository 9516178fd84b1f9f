"""Forms: how what a stream says is written for those who asked for it that way."""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from notifications import sse
from notifications.events import compact_json
from notifications.log.base import Entry, ResetReason
from notifications.log.cursors import Cursor, Position, format_time, position_ms


class Encoder(ABC):
    """Pieces of it can be joined, and what they make is what a wire carries.

    `names_topics`: what is made of an event depends on the topics that were asked for.
    `opens_alike`: the opening is a keep-alive, unless there is more to say.
    """

    names_topics: ClassVar[bool] = True
    opens_alike: ClassVar[bool] = True

    def beginning(self, since: Mapping[str, Position]) -> "Encoder":
        """The same for one whose topics begin at different places, while it is told of these."""
        del since
        return self

    def opening(self, at: Cursor, reset: ResetReason | None, lost: Collection[str]) -> bytes:
        """The first words. `lost`: the topics of which `reset` is said, if it is not all."""
        del lost
        return self.reset(at, reset) if reset else self.cursor(at)

    @abstractmethod
    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes: ...

    @abstractmethod
    def cursor(self, at: Cursor) -> bytes:
        """The opening of a stream, and its keep-alive: the place that it goes on from."""

    @abstractmethod
    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        """What came before `at` may be incomplete."""

    @abstractmethod
    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        """Some of the topics that were asked for may not be heard."""

    @abstractmethod
    def closing(self, reason: str) -> bytes:
        """The stream ends, and this is why."""

    def forbidden(self, reason: str, topics: Collection[str]) -> bytes:
        """The stream ends, since these of its topics may not be heard any more."""
        del topics
        return self.closing(reason)


class _Blocks(Encoder):
    """Server-Sent Events."""

    names_topics = False

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        return event(epoch, entry)

    def cursor(self, at: Cursor) -> bytes:
        return cursor(at)

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return reset(at, reason)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        return denied(at, topics)

    def closing(self, reason: str) -> bytes:
        return closing(reason)


class _Enveloped(_Blocks):
    """The same, with each event as an untyped message that holds all of it."""

    names_topics = True

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        return enveloped(epoch, entry, asked)


PLAIN: Encoder = _Blocks()
ENVELOPED: Encoder = _Enveloped()


# What a stream says: events and the service's own signals, as blocks of bytes.


RETRY_MS = 2_000, 5_000
"""Browsers come back after a pause in this range, so that they do not all come at once."""
_FULL = 15_000, 60_000
_CLOSING_RETRY_MS = {
    "too_old": (100, 1_000),
    **dict.fromkeys(("too_many_streams", "too_many_of_address", "too_many_of_user"), _FULL),
}


def event(epoch: str, entry: Entry) -> bytes:
    return sse.block(entry.data, id=_cursor(epoch, entry), type=entry.type, retry=entry.retry)


def enveloped(epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
    """The event as an untyped message that holds all of it, with the topics that were asked for."""
    envelope = in_json(entry, asked).encode()
    return sse.block(envelope, id=_cursor(epoch, entry), retry=entry.retry)


def in_json(entry: Entry, asked: Collection[str]) -> str:
    """Everything about an event, on one line."""
    data = compact_json(entry.data.decode()) if entry.is_text else entry.data.decode()
    rest = compact_json(
        {
            "id": entry.id.decode(),
            "topics": [topic for topic in entry.topics if topic in asked],
            "type": entry.type.decode() if entry.type else None,
            "time": format_time(position_ms(entry.position)),
        }
    )
    return f'{rest[:-1]},"data":{data}}}'


def cursor(at: Cursor) -> bytes:
    """The opening of a stream, and its keep-alive: the place that it goes on from."""
    return _signal("cursor", {}, at=at)


def reset(at: Cursor, reason: ResetReason) -> bytes:
    """What came before `at` may be incomplete: fetch the state anew, then go on from here."""
    return _signal("reset", {"reason": reason}, at=at)


def denied(at: Cursor, topics: Collection[str]) -> bytes:
    """Some of the topics that were asked for may not be heard. The others are served."""
    return _signal("denied", {"topics": list(topics), "reason": "forbidden"}, at=at)


def closing(reason: str) -> bytes:
    """The stream ends, and this is why. It names no place: the client keeps the one it has."""
    return _signal("closing", {"reason": reason}, at=None, retry=retry_ms(reason))


def retry_ms(reason: str = "") -> int:
    """A pause before the client comes back; a longer one where there is no room for it."""
    return random.randint(*_CLOSING_RETRY_MS.get(reason, RETRY_MS))


def _signal(
    name: str, data: dict[str, Any], *, at: Cursor | None, retry: int | None = None
) -> bytes:
    return sse.block(
        compact_json(data).encode(),
        id=str(at).encode() if at else None,
        type=f"stream.{name}".encode(),
        retry=retry_ms() if retry is None else retry,
    )


def _cursor(epoch: str, entry: Entry) -> bytes:
    return str(Cursor(epoch, entry.position)).encode()
