"""The wire format of Server-Sent Events, both ways: pure code, no I/O.

WHATWG HTML §9.2 (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from dataclasses import dataclass

CONTENT_TYPE = "text/event-stream"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def encode(
    data: bytes,
    *,
    id: bytes | None = None,
    type: bytes | None = None,
    retry: int | None = None,
) -> bytes:
    """One event as a block of the stream.

    `data` is UTF-8. CR, LF and CRLF each end a line of `data`, and a client reads them all as LF.
    The caller makes sure that `id` and `type` are one line each and that `id` has no NUL.
    `retry` is milliseconds.
    """
    parts = []
    if retry is not None:
        parts.append(b"retry: %d\n" % retry)
    if id is not None:
        parts.append(b"id: %b\n" % id)
    if type is not None:
        parts.append(b"event: %b\n" % type)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    parts.append(b"data: %b\n\n" % data)
    return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """An event as a client reads it.

    `id` is the last id of the stream so far: an event that has no id keeps the one before.
    """

    data: str
    type: str = "message"
    id: str = ""
    retry: int | None = None


class Decoder:
    """Parses a stream in pieces of any size, as an EventSource does (WHATWG §9.2.6)."""

    def __init__(self) -> None:
        self._buffer = b""
        self._started = False
        self._last_id = ""
        self._reset()

    def _reset(self) -> None:
        self._data: list[str] = []
        self._type = ""
        self._retry: int | None = None

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """The events that this piece completes."""
        text = self._buffer + piece
        if not self._started:
            if len(text) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(text):
                self._buffer = text
                return []
            text = text.removeprefix(_BYTE_ORDER_MARK)
            self._started = True
        # A CR at the very end may be half of a CRLF.
        trailing_cr = b"\r" if text.endswith(b"\r") else b""
        text = text.removesuffix(trailing_cr).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, unfinished = text.split(b"\n")
        self._buffer = unfinished + trailing_cr
        events = (self._parse_line(line.decode(errors="replace")) for line in lines)
        return [event for event in events if event is not None]

    def _parse_line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = None
        if self._data:
            event = ServerSentEvent(
                data="\n".join(self._data),
                type=self._type or "message",
                id=self._last_id,
                retry=self._retry,
            )
        self._reset()
        return event
