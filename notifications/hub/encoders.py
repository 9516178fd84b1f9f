"""Encoders: how events and the service's own signals become the bytes of a stream."""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from notifications import sse
from notifications.events import compact_json
from notifications.log.cursors import Cursor, Position, format_time, position_ms
from notifications.log.entries import ResetReason
from notifications.log.records import Entry
from notifications.topics import NAMESPACE_END, bare_topic

RETRY_MS = 2_000, 5_000
"""The range of the pause after which browsers reconnect, so that not all reconnect at once."""
_RETRY_WHEN_FULL_MS = 15_000, 60_000
_RETRY_AFTER_CLOSING_MS = {
    "too_old": (100, 1_000),
    "user_changed": _RETRY_WHEN_FULL_MS,
    "too_many_streams": _RETRY_WHEN_FULL_MS,
    "too_many_of_address": _RETRY_WHEN_FULL_MS,
    "too_many_of_user": _RETRY_WHEN_FULL_MS,
}


class Encoder(ABC):
    """Writes events and signals as bytes. Its results may be joined into one payload.

    `depends_on_topics`: the bytes of an event depend on the topics that the subscriber asked for.
    `opens_with_cursor`: the opening is the same bytes as a keep-alive, unless the stream has to
    report a reset or denied topics.
    `ends_broken_off`: its streams end by a connection that breaks off, since their client takes a
    proper end for the end of all.
    """

    depends_on_topics: ClassVar[bool] = True
    opens_with_cursor: ClassVar[bool] = True
    ends_broken_off: ClassVar[bool] = False

    def for_limited_history(self, since: Mapping[str, Position]) -> "Encoder":
        """The encoder for a backlog of which some topics have only a part.

        `since`: for each of these topics, the first position that is sent.
        """
        del since
        return self

    def opening(self, at: Cursor, reset: ResetReason | None, lost: Collection[str]) -> bytes:
        """The first block. `lost`: the topics that `reset` is about."""
        del lost
        return self.reset(at, reset) if reset else self.cursor(at)

    def opening_of_page(self, user: str, at: Cursor, reset: ResetReason | None) -> bytes:
        """The first block of a stream that repeats for which user the page was made."""
        del user
        return self.opening(at, reset, ())

    @abstractmethod
    def event(self, epoch: str, entry: Entry, topics: Collection[str]) -> bytes:
        """An event, for a subscriber that asked for `topics`. Nothing, if it is not for them."""

    @abstractmethod
    def cursor(self, at: Cursor) -> bytes:
        """The keep-alive, and the usual opening: the position that the stream has reached."""

    @abstractmethod
    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        """Events before `at` may be missing: the client fetches its state again, then goes on."""

    @abstractmethod
    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        """The client may not subscribe to these topics. It gets the other ones."""

    @abstractmethod
    def closing(self, reason: str) -> bytes:
        """The stream ends for this reason. The client keeps the cursor that it has."""

    def forbidden(self, reason: str, topics: Collection[str]) -> bytes:
        """The stream ends because the client may no longer subscribe to these topics."""
        del topics
        return self.closing(reason)


class SseEncoder(Encoder):
    """Server-Sent Events, with a `retry` in each signal."""

    depends_on_topics = False

    def event(self, epoch: str, entry: Entry, topics: Collection[str]) -> bytes:
        id = event_cursor(epoch, entry)
        return sse.encode(entry.data, id=id, type=entry.type, retry=entry.retry)

    def cursor(self, at: Cursor) -> bytes:
        return self._signal("cursor", {}, at=at)

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return self._signal("reset", {"reason": reason}, at=at)

    def opening_of_page(self, user: str, at: Cursor, reset: ResetReason | None) -> bytes:
        if reset:
            return self._signal("reset", {"reason": reset, "user": user}, at=at)
        return self._signal("cursor", {"user": user}, at=at)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        return self._signal("denied", {"topics": list(topics), "reason": "forbidden"}, at=at)

    def closing(self, reason: str) -> bytes:
        retry_ms = _RETRY_AFTER_CLOSING_MS.get(reason, RETRY_MS)
        return self._signal("closing", {"reason": reason}, retry_ms=retry_ms)

    def _signal(
        self,
        name: str,
        data: dict[str, Any],
        *,
        at: Cursor | None = None,
        retry_ms: tuple[int, int] = RETRY_MS,
    ) -> bytes:
        return sse.encode(
            compact_json(data).encode(),
            id=str(at).encode() if at else None,
            type=f"stream.{name}".encode(),
            retry=random.randint(*retry_ms),
        )


class EnvelopeEncoder(SseEncoder):
    """Server-Sent Events, with each event as an untyped message that holds its envelope."""

    depends_on_topics = True

    def event(self, epoch: str, entry: Entry, topics: Collection[str]) -> bytes:
        envelope = envelope_json(entry, topics).encode()
        return sse.encode(envelope, id=event_cursor(epoch, entry), retry=entry.retry)


class BreakingOffEncoder(SseEncoder):
    """Events as they are, for a client such as Datastar."""

    ends_broken_off = True


PLAIN: Encoder = SseEncoder()
ENVELOPED: Encoder = EnvelopeEncoder()
BREAKING_OFF: Encoder = BreakingOffEncoder()


def envelope_json(entry: Entry, topics: Collection[str]) -> str:
    """An event as one line of JSON, with only those of its topics that are in `topics`."""
    data = compact_json(entry.data.decode()) if entry.is_text else entry.data.decode()
    names = [topic for topic in entry.topics if topic in topics]
    if names and NAMESPACE_END in names[-1]:
        names = list(map(bare_topic, names))
    values: dict[str, Any] = {
        "id": entry.id.decode(),
        "topics": names,
        "type": entry.type.decode() if entry.type else None,
        "time": format_time(position_ms(entry.position)),
    }
    if entry.swap:
        mode, _, target = entry.swap.decode().partition(" ")
        values["html"] = {"target": target, "swap": mode}
    if entry.trace:
        values["traceparent"] = entry.trace.decode()
    fields = compact_json(values)
    return f'{fields[:-1]},"data":{data}}}'


def event_cursor(epoch: str, entry: Entry) -> bytes:
    """The cursor of an event, as a stream has it."""
    return str(Cursor(epoch, entry.position)).encode()
