"""The wire format of Server-Sent Events, both ways: pure code, no I/O.

WHATWG HTML §9.2 (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from dataclasses import dataclass

CONTENT_TYPE = "text/event-stream"


def block(
    data: bytes,
    *,
    id: bytes | None = None,
    type: bytes | None = None,
    retry: int | None = None,
) -> bytes:
    """One event. `data` is UTF-8; CR, LF and CRLF end a line of it, and reach the reader as LF.

    `id` and `type` are one line each; an `id` must not hold NUL: the caller has seen to that.
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
    """What a reader is told. `id` is the last one seen, which an event need not repeat."""

    data: str
    type: str = "message"
    id: str = ""
    retry: int | None = None


class Decoder:
    """Reads a stream in pieces of any size, as an EventSource does (WHATWG §9.2.6)."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._last_id = ""
        self._reset()

    def _reset(self) -> None:
        self._data: list[str] = []
        self._type = ""
        self._retry: int | None = None

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """The events that this piece completes."""
        text = self._rest + piece
        if not self._started:
            if len(text) < 3 and b"\xef\xbb\xbf".startswith(text):
                self._rest = text
                return []
            text = text.removeprefix(b"\xef\xbb\xbf")
            self._started = True
        # A CR at the very end may be half of a CRLF.
        held = b"\r" if text.endswith(b"\r") else b""
        text = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        events = (self._line(line.decode(errors="replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> ServerSentEvent | None:
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
