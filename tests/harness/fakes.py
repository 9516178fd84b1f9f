"""Stand-ins that do what the real thing does, when the test says so."""

from notifications.log.base import Batch, Entry
from notifications.log.cursors import Cursor, position
from notifications.sse import Decoder, ServerSentEvent
from notifications.transport.base import Payload, Transport

EPOCH = "0123456789ab"


class FakeTransport(Transport):
    """Takes everything at once, or, while `held`, one chunk until it is drained."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self.held = held
        self.payloads: list[Payload] = []
        self.ended = False
        self.hung_up = False
        self.aborted = False
        self.fails = False
        self.silent = False

    def write(self, payload: Payload) -> None:
        if self.fails:
            raise RuntimeError("this wire fails in a way nobody thought of")
        assert not self.busy, "a wire was handed a second chunk"
        assert not self.ended, "a wire that has ended was written to"
        assert not self.aborted, "a wire that was aborted was written to"
        self.payloads.append(payload)
        self.busy = self.held

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        self.write(payload)
        self.ended = True
        self.hung_up = hang_up

    def abort(self) -> None:
        self.aborted = True

    def unanswered(self, seconds: float) -> bool:
        return self.silent

    def drain(self) -> None:
        """The client has read all it was sent."""
        if self.busy:
            self.busy = False
            self.owner.drained()

    @property
    def chunks(self) -> list[bytes]:
        return [payload.raw for payload in self.payloads]

    @property
    def events(self) -> list[ServerSentEvent]:
        return Decoder().feed(b"".join(self.chunks))

    @property
    def said(self) -> list[str]:
        """The types of the signals and the data of the events, in order."""
        return [e.type if e.type.startswith("stream.") else e.data for e in self.events]


def entry(ms: int, *topics: str, data: bytes | None = None) -> Entry:
    """An event at a time, whose data says the time."""
    return Entry(position(ms), topics or ("t",), b"urn:x", None, data or b"%d" % ms, True, None)


def batch(prev: int, *entries: Entry) -> Batch:
    return Batch(position(prev), entries[-1].position if entries else position(prev), entries)


def at(ms: int, n: int = 0) -> str:
    """The cursor of that place."""
    return str(Cursor(EPOCH, position(ms, n)))
