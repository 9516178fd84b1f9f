"""Hub and log against a model: whatever happens, in whatever order, the checker finds nothing."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from notifications.conf import Settings
from notifications.errors import Unavailable
from notifications.events import Event
from notifications.hub import hub as hubs
from notifications.hub import runtime as runtimes
from notifications.hub.grants import Grant
from notifications.hub.runtime import Runtime
from notifications.hub.scheduling import TimeSlice
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.log.base import Batch, Draft, Gap, Receipt, ResetReason, Retention
from notifications.log.cursors import Cursor
from notifications.log.memory import MemoryLog, MemoryStore
from notifications.sse import Decoder
from notifications.transport.base import Payload
from tests.harness.checker import Heard, Publication, violations
from tests.harness.fakes import FakeTransport

TOPICS = "a", "b", "c"
KEPT = 30
WINDOW = 20
"""Fewer than are kept, so that a subscriber may fall off the window and a process off the log."""
SPINS = 5_000
SETTLED = 100

topics = st.sets(st.sampled_from(TOPICS), min_size=1)
which = st.integers(min_value=0, max_value=99)


class FaultyLog(MemoryLog):
    """A log in memory that can be out of reach, and of which one can lose sight."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.store = store
        self.here = asyncio.Event()
        self.here.set()
        self.gap: ResetReason | None = None

    async def state(self) -> Cursor:
        if not self.here.is_set():
            raise Unavailable("It is away.", outcome="not_sent")
        return await super().state()

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        async for said in super().tail(after):
            await self.here.wait()
            if self.gap is not None:
                gap, self.gap = self.gap, None
                yield Gap(gap)
                return
            yield said


class StrictTransport(FakeTransport):
    """The hub survives a wire that fails, also by an assertion: this one remembers."""

    misused = False

    def write(self, payload: Payload) -> None:
        self.misused = self.misused or self.busy or self.ended or self.aborted
        super().write(payload)


@dataclass
class Client:
    """A browser: what it was told, and its connection, if it has one."""

    heard: Heard
    transport: StrictTransport
    subscriber: Subscriber
    decoder: Decoder = field(default_factory=Decoder)
    read: int = 0

    def take(self) -> None:
        for chunk in self.transport.chunks[self.read :]:
            self.read += 1
            for event in self.decoder.feed(chunk):
                self.heard.told(event)


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        self.patches.enter_context(patch.object(runtimes, "LOAD_PAUSE", 0))
        # Whatever is done in slices lets the others go on after every other step of it.
        turns = cycle([True, False])
        self.patches.enter_context(patch.object(TimeSlice, "due", property(lambda _: next(turns))))
        self.patches.enter_context(patch.object(hubs, "STRIDE", 1))
        self.loop = asyncio.new_event_loop()
        self.store = MemoryStore(Retention(events=KEPT, bytes=10**7, age=3600))
        self.published: list[Publication] = []
        self.clients: list[Client] = []
        self.losses = 0
        self.doubts = 0
        self.runtime, self.log = self.loop.run_until_complete(self._begin())

    async def _begin(self) -> tuple[Runtime, FaultyLog]:
        log = FaultyLog(self.store)
        given = Settings(LOG="memory", HISTORY_EVENTS=WINDOW, KEEPALIVE=300)
        runtime = Runtime(given, log)
        assert await runtime.wait_ready(timeout=10)
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
        told=st.booleans(),
    )
    def publish(self, topic: str, number: int, kept: bool, told: bool) -> None:
        """While the log is away, what is not acknowledged may have been `kept`, or be `told` of."""
        first = len(self.published)
        events = [Event(topics=[topic], data=str(first + i)) for i in range(number)]
        publications = [Publication(topic, str(each.data)) for each in events]
        self.published += publications
        away = not self.log.here.is_set()
        if away and not kept:
            for each in publications:
                each.outcome = "unknown" if told else "not_sent"
            return
        receipts = self.store.append([Draft(each) for each in events])
        if not away:
            self._acknowledge(publications, receipts)

    def _acknowledge(self, told: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        for publication, receipt in zip(told, receipts, strict=True):
            publication.outcome, publication.cursor = "acknowledged", receipt.cursor

    # What subscribers do

    @rule(topics=topics, held=st.booleans())
    def subscribe(self, topics: set[str], held: bool) -> None:
        heard = Heard(f"client {len(self.clients)}", frozenset(topics))
        self.clients.append(self._connect(heard, held=held))

    def _connect(self, heard: Heard, *, held: bool) -> Client:
        async def connect() -> Client:
            transport = StrictTransport(held=held)
            start = Start(cursor=str(heard.cursor) if heard.cursor else None)
            grant = Grant(topics=tuple(sorted(heard.topics)))
            return Client(heard, transport, self.runtime.subscribe(grant, transport, start))

        return self.loop.run_until_complete(connect())

    def _one(self, which: int) -> Client:
        return self.clients[which % len(self.clients)]

    @precondition(lambda self: self.clients)
    @rule(which=which, held=st.booleans())
    def come_back(self, which: int, held: bool) -> None:
        client = self._one(which)
        client.take()
        self.runtime.hub.leave(client.subscriber, CloseReason.CLIENT_LEFT)
        self.clients[which % len(self.clients)] = self._connect(client.heard, held=held)

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def hold(self, which: int) -> None:
        self._one(which).transport.held = True

    @precondition(lambda self: self.clients)
    @rule(which=which, released=st.booleans())
    def drain(self, which: int, released: bool) -> None:
        transport = self._one(which).transport
        transport.held = transport.held and not released
        self.loop.run_until_complete(self._drain(transport))

    async def _drain(self, transport: FakeTransport) -> None:
        transport.drain()

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def fail(self, which: int) -> None:
        self._one(which).transport.fails = True

    @precondition(lambda self: self.clients)
    @rule(which=which)
    def keep_alive(self, which: int) -> None:
        self.loop.run_until_complete(self._keep_alive(self._one(which)))

    async def _keep_alive(self, client: Client) -> None:
        self.runtime.hub.keep_alive(client.subscriber)

    # What befalls the log

    @rule()
    def go_away(self) -> None:
        self.log.here.clear()

    @rule()
    def come_here(self) -> None:
        self.log.here.set()

    @rule()
    def flush(self) -> None:
        self.losses += 1
        self.store.clear()

    @rule(reason=st.sampled_from(ResetReason))
    def lose_sight(self, reason: ResetReason) -> None:
        self.doubts += 1
        self.log.gap = reason

    @rule(steps=st.integers(1, 8))
    def go_on(self, steps: int) -> None:
        self.run(steps)

    @rule()
    def settle(self) -> None:
        if self.log.here.is_set():
            self.run(SETTLED)

    # What must hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        for client in self.clients:
            client.take()
            assert not client.transport.misused
            assert violations(self.published, client.heard) == []
            reasons = client.heard.resets
            assert reasons.count("unknown") <= self.doubts
            assert reasons.count("log_lost") <= self.losses + self.doubts

    def teardown(self) -> None:
        self.log.here.set()
        try:
            self._everyone_catches_up()
            self.nothing_is_wrong()
        finally:
            self.loop.run_until_complete(self.runtime.stop())
            self.loop.close()
            self.patches.close()

    def _everyone_catches_up(self) -> None:
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
            assert client.heard.cursor == end

    def _settled(self) -> bool:
        return self.runtime.hub.head == Cursor(self.store.epoch, self.store.last)


Model.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModel: Any = Model.TestCase
