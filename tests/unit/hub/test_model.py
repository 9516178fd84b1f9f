"""Hub and log, driven through any order of events: the checker finds no violation."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from notifications.conf import Settings
from notifications.errors import Unavailable
from notifications.events import Event
from notifications.hub.grants import Grant
from notifications.hub.runtime import Runtime
from notifications.hub.scheduling import TimeSlice, Timing
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.log.cursors import Cursor
from notifications.log.entries import Batch, Draft, Gap, Receipt, ResetReason, Retention
from notifications.log.memory import MemoryLog, MemoryStore
from notifications.sse import Decoder
from notifications.transport.base import Payload
from tests.harness.checker import Observation, Publication, violations
from tests.harness.fakes import FakeTransport

TOPICS = "a", "b", "c"
KEPT = 30
WINDOW = 20
"""Less than the log keeps: a subscriber can fall off the window, and a process off the log."""
SPINS = 5_000
SETTLED = 100

topics = st.sets(st.sampled_from(TOPICS), min_size=1)
which = st.integers(min_value=0, max_value=99)


class FaultyLog(MemoryLog):
    """A log in memory that can be out of reach, and whose tail can end with a gap."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.store = store
        self.reachable = asyncio.Event()
        self.reachable.set()
        self.gap: ResetReason | None = None

    async def state(self) -> Cursor:
        if not self.reachable.is_set():
            raise Unavailable("It is away.", outcome="not_sent")
        return await super().state()

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        async for item in super().tail(after):
            await self.reachable.wait()
            if self.gap is not None:
                gap, self.gap = self.gap, None
                yield Gap(gap)
                return
            yield item


class StrictTransport(FakeTransport):
    """Remembers a misuse, because the hub survives a transport that fails, even by an assertion."""

    misused = False

    def write(self, payload: Payload) -> None:
        self.misused = self.misused or self.busy or self.ended or self.aborted
        super().write(payload)


@dataclass
class Client:
    """A browser: what it has received, and its present connection."""

    observation: Observation
    transport: StrictTransport
    subscriber: Subscriber
    decoder: Decoder = field(default_factory=Decoder)
    read: int = 0

    def take(self) -> None:
        for chunk in self.transport.chunks[self.read :]:
            self.read += 1
            for event in self.decoder.feed(chunk):
                self.observation.receive(event)


class AlternatingTimeSlice(TimeSlice):
    """Work in slices lets other work run after every other step of the whole model."""

    def __init__(self, answers: Iterator[bool]) -> None:
        super().__init__()
        self._answers = answers

    @property
    def expired(self) -> bool:
        return next(self._answers)


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = MemoryStore(Retention(events=KEPT, bytes=10**7, age=3600))
        self.published: list[Publication] = []
        self.clients: list[Client] = []
        self.losses = 0
        self.doubts = 0
        self.runtime, self.log = self.loop.run_until_complete(self._start())

    async def _start(self) -> tuple[Runtime, FaultyLog]:
        log = FaultyLog(self.store)
        settings = Settings(LOG="memory", HISTORY_EVENTS=WINDOW, KEEPALIVE=300)
        time_slice = partial(AlternatingTimeSlice, cycle([True, False]))
        timing = Timing(time_slice=time_slice, stride=1)
        runtime = Runtime(settings, log, timing=timing, retry_seconds=0)
        assert await runtime.wait_ready(timeout=30)
        return runtime, log

    def run(self, steps: int) -> None:
        async def spin() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(spin())

    # What publishers do

    @rule(
        topic=st.sampled_from(TOPICS),
        number=st.integers(1, 8),
        kept=st.booleans(),
        sent=st.booleans(),
    )
    def publish(self, topic: str, number: int, kept: bool, sent: bool) -> None:
        """While the log is away, an unacknowledged event may have been sent, and kept."""
        first = len(self.published)
        events = [Event(topics=[topic], data=str(first + i)) for i in range(number)]
        publications = [Publication(topic, str(each.data)) for each in events]
        self.published += publications
        away = not self.log.reachable.is_set()
        if away and not kept:
            for each in publications:
                each.outcome = "unknown" if sent else "not_sent"
            return
        receipts = self.store.append([Draft(each) for each in events])
        if not away:
            self._acknowledge(publications, receipts)

    def _acknowledge(
        self, publications: Sequence[Publication], receipts: Sequence[Receipt]
    ) -> None:
        for publication, receipt in zip(publications, receipts, strict=True):
            publication.outcome, publication.cursor = "acknowledged", receipt.cursor

    # What subscribers do

    @rule(topics=topics, held=st.booleans())
    def subscribe(self, topics: set[str], held: bool) -> None:
        observation = Observation(f"client {len(self.clients)}", frozenset(topics))
        self.clients.append(self._connect(observation, held=held))

    def _connect(self, observation: Observation, *, held: bool) -> Client:
        async def connect() -> Client:
            transport = StrictTransport(held=held)
            start = Start(cursor=str(observation.cursor) if observation.cursor else None)
            grant = Grant(topics=tuple(sorted(observation.topics)))
            subscriber = self.runtime.subscribe(grant, transport, start)
            return Client(observation, transport, subscriber)

        return self.loop.run_until_complete(connect())

    def _client(self, which: int) -> Client:
        return self.clients[which % len(self.clients)]

    @precondition(lambda self: self.clients)
    @rule(which=which, held=st.booleans())
    def come_back(self, which: int, held: bool) -> None:
        client = self._client(which)
        client.take()
        self.runtime.hub.leave(client.subscriber, CloseReason.CLIENT_LEFT)
        self.clients[which % len(self.clients)] = self._connect(client.observation, held=held)

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def hold(self, which: int) -> None:
        self._client(which).transport.held = True

    @precondition(lambda self: self.clients)
    @rule(which=which, released=st.booleans())
    def drain(self, which: int, released: bool) -> None:
        transport = self._client(which).transport
        transport.held = transport.held and not released
        self.loop.run_until_complete(self._drain(transport))

    async def _drain(self, transport: FakeTransport) -> None:
        transport.drain()

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def fail(self, which: int) -> None:
        self._client(which).transport.fails = True

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def keep_alive(self, which: int) -> None:
        self.loop.run_until_complete(self._keep_alive(self._client(which)))

    async def _keep_alive(self, client: Client) -> None:
        self.runtime.hub.keep_alive(client.subscriber)

    # What happens to the log

    @rule()
    def become_unreachable(self) -> None:
        self.log.reachable.clear()

    @rule()
    def become_reachable(self) -> None:
        self.log.reachable.set()

    @rule()
    def flush(self) -> None:
        self.losses += 1
        self.store.clear()

    @rule(reason=st.sampled_from(ResetReason))
    def end_tail(self, reason: ResetReason) -> None:
        self.doubts += 1
        self.log.gap = reason

    @rule(steps=st.integers(1, 8))
    def go_on(self, steps: int) -> None:
        self.run(steps)

    @rule()
    def settle(self) -> None:
        if self.log.reachable.is_set():
            self.run(SETTLED)

    # What must hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        for client in self.clients:
            client.take()
            assert not client.transport.misused
            assert violations(self.published, client.observation) == []
            reasons = client.observation.resets
            assert reasons.count("unknown") <= self.doubts
            assert reasons.count("log_lost") <= self.losses + self.doubts

    def teardown(self) -> None:
        self.log.reachable.set()
        try:
            self._all_catch_up()
            self.nothing_is_wrong()
        finally:
            self.loop.run_until_complete(self.runtime.stop())
            self.loop.close()

    def _all_catch_up(self) -> None:
        for _ in range(SPINS):
            self.run(1)
            for client in self.clients:
                client.transport.held = False
                self.loop.run_until_complete(self._drain(client.transport))
            if self._settled():
                break
        self.run(SETTLED)
        for number, client in enumerate(self.clients):
            if not client.subscriber.open or client.transport.fails:
                self.come_back(number, held=False)
        self.run(SETTLED)
        end = Cursor(self.store.epoch, self.store.last)
        for client in self.clients:
            self.loop.run_until_complete(self._keep_alive(client))
            client.take()
            assert client.observation.cursor == end

    def _settled(self) -> bool:
        return self.runtime.hub.head == Cursor(self.store.epoch, self.store.last)


Model.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModel: Any = Model.TestCase
