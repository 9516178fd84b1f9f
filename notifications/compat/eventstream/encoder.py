"""What django-eventstream's streams say, as blocks of bytes."""

import json
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from notifications.compat.eventstream import ids
from notifications.hub.encoders import RETRY_MS, Encoder
from notifications.log.base import Entry, ResetReason
from notifications.log.cursors import Cursor, Position

# Some polyfills wait until they have had this much.
PADDING = b":" + b" " * 2048 + b"\n\n"


@dataclass(frozen=True, slots=True)
class EventstreamEncoder(Encoder):
    """`channels` were asked for; those that are `reliable` have ids, and can be resumed."""

    opens_alike: ClassVar = False

    channels: tuple[str, ...]
    reliable: tuple[str, ...]
    since: Mapping[bytes, Position] = field(default_factory=dict, compare=False)
    _names: tuple[bytes, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple(map(ids.name, self.reliable)))

    def beginning(self, since: Mapping[str, Position]) -> "EventstreamEncoder":
        named = {ids.name(channel): first for channel, first in since.items()}
        return EventstreamEncoder(self.channels, self.reliable, named)

    def opening(self, at: Cursor, reset: ResetReason | None, lost: Collection[str]) -> bytes:
        # Unlike there, with an id: whoever is cut off before the first event loses nothing.
        retry = b"retry: %d\n" % random.randint(*RETRY_MS)
        said = PADDING + b"event: stream-open\n" + retry + self._id(at) + b"data:\n\n"
        return said + self._reset(at, sorted(lost)) if reset else said

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        data = entry.data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" in data:
            data = data.replace(b"\n", b"\ndata: ")
        id = self._id(Cursor(epoch, entry.position))
        return b"event: %b\n%bdata: %b\n\n" % (ids.heard(entry.type), id, data)

    def cursor(self, at: Cursor) -> bytes:
        return b"event: keep-alive\n" + self._id(at) + b"data:\n\n"

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return self._reset(at, self.channels)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        raise AssertionError("A request that is denied some of its channels is denied all.")

    def closing(self, reason: str) -> bytes:
        # No event of theirs says this. The client comes back with the id it has.
        return b": %b\n\n" % reason.encode()

    def forbidden(self, reason: str, topics: Collection[str]) -> bytes:
        return forbidden(topics) if reason == "permission_ended" else self.closing(reason)

    def _reset(self, at: Cursor, channels: Collection[str]) -> bytes:
        body = json.dumps({"channels": list(channels)}).encode()
        return b"event: stream-reset\n" + self._id(at) + b"data: " + body + b"\n\n"

    def _id(self, at: Cursor) -> bytes:
        if not self._names:
            return b""
        return b"id: " + ids.together(self._names, at, self.since) + b"\n"


def forbidden(channels: Collection[str]) -> bytes:
    text = "Permission denied to channels: " + ", ".join(channels)
    return error("forbidden", text, channels=list(channels))


def error(condition: str, text: str, **extra: Any) -> bytes:
    """The last words. With this id a client that comes back is refused."""
    body = json.dumps({"condition": condition, "text": text, **extra}).encode()
    return b"event: stream-error\nid: error\ndata: " + body + b"\n\n"
