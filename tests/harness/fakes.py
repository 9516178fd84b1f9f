"""Fakes that act as the real thing does, but only when the test tells them to."""

import asyncio
import socket

from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import Batch
from notifications.log.records import Entry
from notifications.sse import Decoder, ServerSentEvent
from notifications.transport.base import Payload, Send, Transport
from notifications.transport.detach import ServerConnection

EPOCH = "0123456789ab"


class FakeClock:
    """Stands still until the test sets `now`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeTransport(Transport):
    """Takes everything at once, or, while `held`, one payload until it is drained."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self.held = held
        self.payloads: list[Payload] = []
        self.ended = False
        self.broken_off = False
        self.aborted = False
        self.fails = False
        self.unacknowledged_seconds: float | None = None

    def write(self, payload: Payload) -> None:
        if self.fails:
            raise RuntimeError("this transport fails in an unforeseen way")
        assert not self.busy, "a busy transport was written to"
        assert not self.ended, "a transport that has ended was written to"
        assert not self.aborted, "a transport that was aborted was written to"
        self.payloads.append(payload)
        self.busy = self.held

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        self.write(payload)
        self.ended = True
        self.broken_off = break_off

    def abort(self) -> None:
        self.aborted = True

    def limit_unacknowledged(self, seconds: float) -> None:
        self.unacknowledged_seconds = seconds

    def drain(self) -> None:
        """The client has read everything that it was sent."""
        if self.busy:
            self.busy = False
            self.callbacks.drained()

    @property
    def chunks(self) -> list[bytes]:
        return [payload.raw for payload in self.payloads]

    @property
    def events(self) -> list[ServerSentEvent]:
        return Decoder().feed(b"".join(self.chunks))

    @property
    def received(self) -> list[str]:
        """The types of the signals and the data of the events, in order."""
        return [e.type if e.type.startswith("stream.") else e.data for e in self.events]


class FakeServerConnection(ServerConnection):
    """Of a server that has written the head, and has nothing around its socket."""

    is_chunked = True

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def prepare(self) -> None: ...

    async def flush(self, send: Send) -> None: ...

    def get_socket(self) -> socket.socket:
        return self.connection

    def drop(self) -> None:
        self.connection.close()

    reset = drop


def entry(ms: int, *topics: str, data: bytes | None = None) -> Entry:
    """An event at a time, with that time as its data."""
    data = data or b"%d" % ms
    return Entry(make_position(ms), topics or ("t",), b"urn:x", None, data, True, None)


def batch(prev: int, *entries: Entry) -> Batch:
    last = entries[-1].position if entries else make_position(prev)
    return Batch(make_position(prev), last, [each.record for each in entries])


def at(ms: int, n: int = 0) -> str:
    """The cursor of that position."""
    return str(Cursor(EPOCH, make_position(ms, n)))


async def settle() -> None:
    """Run what is scheduled for the next iterations of the event loop."""
    for _ in range(50):
        await asyncio.sleep(0)
