"""The encoder of streams for clients of django-eventstream."""

import json
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from notifications.compat.eventstream.translation import format_id, from_log_type, id_prefix
from notifications.hub.encoders import RETRY_MS, Encoder
from notifications.log.cursors import Cursor, Position
from notifications.log.entries import ResetReason
from notifications.log.records import Entry
from notifications.topics import bare_topic

# Some polyfills wait for the first 2 KiB of a response.
PADDING = b":" + b" " * 2048 + b"\n\n"


@dataclass(frozen=True, slots=True)
class EventstreamEncoder(Encoder):
    """Encodes for these `channels`. The `reliable` ones have ids and can be resumed."""

    opens_with_cursor: ClassVar = False

    channels: tuple[str, ...]
    reliable: tuple[str, ...]
    since: Mapping[bytes, Position] = field(default_factory=dict, compare=False)
    _prefixes: tuple[bytes, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prefixes", tuple(map(id_prefix, self.reliable)))

    def for_limited_history(self, since: Mapping[str, Position]) -> "EventstreamEncoder":
        by_prefix = {id_prefix(bare_topic(topic)): first for topic, first in since.items()}
        return EventstreamEncoder(self.channels, self.reliable, by_prefix)

    def opening(self, at: Cursor, reset: ResetReason | None, lost: Collection[str]) -> bytes:
        # django-eventstream sends no id here: with one, a client that is cut off before the first
        # event loses nothing.
        retry = b"retry: %d\n" % random.randint(*RETRY_MS)
        block = PADDING + b"event: stream-open\n" + retry + self._id_line(at) + b"data:\n\n"
        return block + self._reset_block(at, sorted(map(bare_topic, lost))) if reset else block

    def event(self, epoch: str, entry: Entry, asked: Collection[str]) -> bytes:
        data = entry.data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" in data:
            data = data.replace(b"\n", b"\ndata: ")
        id = self._id_line(Cursor(epoch, entry.position))
        return b"event: %b\n%bdata: %b\n\n" % (from_log_type(entry.type), id, data)

    def cursor(self, at: Cursor) -> bytes:
        return b"event: keep-alive\n" + self._id_line(at) + b"data:\n\n"

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        return self._reset_block(at, self.channels)

    def denied(self, at: Cursor, topics: Collection[str]) -> bytes:
        raise AssertionError("A request with a forbidden channel gets no stream.")

    def closing(self, reason: str) -> bytes:
        # django-eventstream has no event for this, so a comment is sent. The client resumes from
        # its last id.
        return b": %b\n\n" % reason.encode()

    def forbidden(self, reason: str, topics: Collection[str]) -> bytes:
        return forbidden_block(topics) if reason == "permission_ended" else self.closing(reason)

    def _reset_block(self, at: Cursor, channels: Collection[str]) -> bytes:
        body = json.dumps({"channels": list(channels)}).encode()
        return b"event: stream-reset\n" + self._id_line(at) + b"data: " + body + b"\n\n"

    def _id_line(self, at: Cursor) -> bytes:
        if not self._prefixes:
            return b""
        return b"id: " + format_id(self._prefixes, at, self.since) + b"\n"


def forbidden_block(channels: Collection[str]) -> bytes:
    text = "Permission denied to channels: " + ", ".join(channels)
    return error_block("forbidden", text, channels=list(channels))


def error_block(condition: str, text: str, **extra: Any) -> bytes:
    """The last event. Its id is `error`, with which a client that comes back is refused."""
    body = json.dumps({"condition": condition, "text": text, **extra}).encode()
    return b"event: stream-error\nid: error\ndata: " + body + b"\n\n"
