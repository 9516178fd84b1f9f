"""Stand-ins that do what the real thing does, when the test says so."""

from notifications.cursors import Cursor, position
from notifications.log.base import Batch, Entry
from notifications.sse import Decoder, ServerSentEvent
from notifications.wire import Wire

EPOCH = "0123456789ab"


class FakeWire(Wire):
    """Takes everything at once, or, while `held`, one chunk until it is drained."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.chunks: list[bytes] = []
        self.ended = False
        self.aborted = False
        self._full = False

    @property
    def busy(self) -> bool:
        return self._full

    def write(self, chunk: bytes) -> None:
        assert not self._full, "a wire was handed a second chunk"
        assert not self.ended, "a wire that has ended was written to"
        assert not self.aborted, "a wire that was aborted was written to"
        self.chunks.append(chunk)
        self._full = self.held

    def end(self, chunk: bytes) -> None:
        self.write(chunk)
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    def drain(self) -> None:
        """The client has read all it was sent."""
        if self._full:
            self._full = False
            self.owner.drained()

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
