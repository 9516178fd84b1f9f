"""Streams to browsers: the transport in the process, the bytes on their way, and the browser."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from notifications.sse import Decoder, ServerSentEvent
from notifications.transport.base import NOBODY, Loss, Payload, Transport
from tests.harness.checker import Observation
from tests.simulation.world import Loop, World

if TYPE_CHECKING:
    from tests.simulation.processes import Process

LATENCY_SECONDS = 0.0005, 0.02
BUFFER_BYTES = 1_500
"""What the kernels between process and browser take of a stream that nobody reads."""
LONGEST_RETURNS_SECONDS = 0.02, 0.2, 0.8
"""A browser's pause before it connects again is up to one of these; that of a `retry` is longer."""
ANSWER_SECONDS = 4.0


class StreamTransport(Transport):
    """What a process writes goes to one connection of a browser."""

    def __init__(self, world: World, loop: Loop, random: Random, browser: "Browser") -> None:
        super().__init__()
        self.callbacks = NOBODY  # until it is opened
        self.is_over = False
        self.is_answered = False
        self.is_misused = False
        self._world = world
        self.loop = loop
        self._random = random
        self._browser = browser
        self._unread: deque[bytes] = deque()
        self._decoder = Decoder()
        self._due = 0.0
        self._ended = False
        self._aborted = False

    # What the hub calls

    def write(self, payload: Payload) -> None:
        self.is_misused = self.is_misused or self.busy or self._ended or self._aborted
        if self.is_over:
            return
        self._unread.append(payload.raw)
        self._due = max(self._due, self._world.now + self._latency())
        self._world.add_timer(self._due, None, self.read)
        self.busy = self._is_full

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        self.write(payload)
        self._ended = True

    def abort(self) -> None:
        if not self._aborted:
            self._aborted = True
            self._world.after(self._latency(), self.break_off)

    # What happens to the connection

    def _latency(self) -> float:
        return self._random.uniform(*LATENCY_SECONDS)

    @property
    def _is_full(self) -> bool:
        return sum(map(len, self._unread)) > BUFFER_BYTES

    def read(self) -> None:
        """The browser reads what has arrived, unless it stands still."""
        if self.is_over or self._browser.stalled:
            return
        while self._unread:
            self._take(self._unread.popleft())
        if self.busy:
            self.loop.call_soon(self._report_drained)
        if self._ended:
            self._finish()

    def _take(self, data: bytes) -> None:
        for event in self._decoder.feed(data):
            self.is_answered = True
            self._browser.receive(event)

    def _report_drained(self) -> None:
        if self.busy and not self._is_full:
            self.busy = False
            self.callbacks.drained()

    def break_off(self) -> None:
        """The connection breaks, at any byte of what is under way."""
        if self.is_over:
            return
        under_way = b"".join(self._unread)
        self._take(under_way[: self._random.randint(0, len(under_way))])
        if not self._aborted:
            loss = self._random.choice((Loss.LEFT, Loss.FAILED, Loss.UNRESPONSIVE))
            self.loop.call_later(self._latency(), lambda: self.callbacks.lost(loss))
        self._finish()

    def refuse(self) -> None:
        """No stream opens: the process is not ready, or the browser may not have it."""
        self._ended = True
        self._world.after(self._latency(), self.break_off)

    def _finish(self) -> None:
        self.is_over = True
        self._browser.disconnected(self)


class Browser:
    """A subscriber: it keeps the last id, and comes back with it, to any process.

    `user` is None for public topics, which need no permission.
    """

    def __init__(
        self,
        world: World,
        name: str,
        topics: frozenset[str],
        user: str | None,
        choose: "Callable[[Random], Process]",
        floor: Callable[[], int],
    ) -> None:
        self.name = name
        self.topics = topics
        self.user = user
        self.observation = Observation(name, topics)
        self.stalled = False
        self.transport: StreamTransport | None = None
        self.received: list[tuple[float, ServerSentEvent]] = []
        self.floors: dict[str, int] = {}
        """The position of the oldest entry of the log, at each reset."""
        self.was_misused = False
        self._world = world
        self._random = world.random(name)
        self._choose = choose
        self._floor = floor

    @property
    def session(self) -> str:
        """What a cookie would hold."""
        return f"{self.user}-{self.name}"

    @property
    def last_id(self) -> str | None:
        return str(self.observation.cursor) if self.observation.cursor else None

    def connect(self) -> None:
        """Ask any process for a stream, and give up one that does not answer."""
        if self.transport is not None:
            return
        process = self._choose(self._random)
        transport = StreamTransport(self._world, process.loop, self._random, self)
        self.transport = transport
        pause = self._random.uniform(*LATENCY_SECONDS)
        self._world.after(pause, lambda: process.request_stream(self, transport, self.last_id))
        self._world.after(ANSWER_SECONDS, lambda: self._give_up(transport))

    def _give_up(self, transport: StreamTransport) -> None:
        if not transport.is_answered:
            transport.break_off()

    def receive(self, event: ServerSentEvent) -> None:
        self.received.append((self._world.now, event))
        if event.type == "stream.reset":
            self.floors[event.id] = self._floor()
        self.observation.receive(event)

    def disconnected(self, transport: StreamTransport) -> None:
        self.was_misused = self.was_misused or transport.is_misused
        if self.transport is transport:
            self.transport = None
            longest = self._random.choice(LONGEST_RETURNS_SECONDS)
            self._world.after(self._random.uniform(0.001, longest), self.connect)

    def leave(self) -> None:
        """The connection breaks, or its user closes the lid."""
        if self.transport is not None:
            self.transport.break_off()

    def stall(self) -> None:
        """Read nothing more until `go_on`."""
        self.stalled = True

    def go_on(self) -> None:
        self.stalled = False
        if self.transport is not None:
            self.transport.read()
