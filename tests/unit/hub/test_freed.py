"""A stream that ends is freed by its last reference, with the garbage collector switched off."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from notifications.hub.drain import drain
from notifications.hub.enforcement import Enforcement
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.keepalive import KeepAlive
from notifications.hub.scheduling import Timing
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import ControlAction, ControlEntry, Retention
from notifications.transport.base import Transport
from tests.harness.fakes import EPOCH, FakeClock, FakeTransport, batch, entry, settle

DEADLINE = 30.0
PERIOD = 20.0
WRITE_DEADLINE = 30.0


class Subject(str):
    """A subject that can be referred to weakly: a subscriber refers to its subjects."""


class Renewal:
    """The `renew` of a grant, which the grant refers to."""

    async def __call__(self) -> Grant:
        return Grant(topics=("t",), subjects=("user:5",), renew=self)


@pytest.fixture(autouse=True)
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@dataclass
class Site:
    """A hub and its company, with a clock that stands still."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        window = Window(Retention(100, 10**9, 10**6))
        window.append(batch(0, entry(1)))
        self.hub = Hub(EPOCH, window, timing=Timing(clock=self.clock))
        self.keepalive = KeepAlive(self.hub, period=PERIOD, write_deadline=WRITE_DEADLINE)
        self.enforcement = Enforcement(self.hub, max_age=60)

    def join(self, transport: Transport | None = None) -> tuple[Subscriber, list[str]]:
        """A subscriber, and what of it is freed."""
        freed: list[str] = []
        subject, transport = Subject("user:5"), transport or FakeTransport()
        weakref.finalize(subject, freed.append, "subscriber")
        weakref.finalize(transport, freed.append, "transport")

        renew = Renewal()
        weakref.finalize(renew, freed.append, "grant")
        as_of = Cursor(EPOCH, make_position(1))
        grant = Grant(topics=("t",), subjects=("user:5",), renew=renew, as_of=as_of)
        topics = frozenset(grant.topics)
        subscriber = self.hub.subscribe(topics, transport, Start(), subjects=(subject,))
        self.keepalive.add(subscriber)
        self.enforcement.add(subscriber, grant)
        return subscriber, freed

    async def visit(self) -> None:
        """Let each subscriber have its keep-alive."""
        self.clock.now += 2 * PERIOD
        await self.keepalive._visit(self.keepalive._visits.due())


EVERYTHING = ["grant", "subscriber", "transport"]

ENDINGS: dict[str, Callable[[Hub, Subscriber], None]] = {
    "its client leaves": lambda hub, it: hub.leave(it, CloseReason.CLIENT_LEFT),
    "it is kicked": lambda hub, it: hub.close(it, CloseReason.KICKED),
    "it is too old": lambda hub, it: hub.close(it, CloseReason.TOO_OLD),
    "it is too slow": lambda hub, it: hub.close(it, CloseReason.TOO_SLOW),
    "its permission ends": lambda hub, it: hub.close(
        it, CloseReason.PERMISSION_ENDED, topics=["t"]
    ),
    "its connection fails": lambda hub, it: it.lost(),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_stream_is_free_when_it_ends(ending: str) -> None:
    site = Site()
    subscriber, freed = site.join()
    for _ in range(3):
        await site.visit()
    ENDINGS[ending](site.hub, subscriber)
    del subscriber
    assert sorted(freed) == EVERYTHING


async def test_a_stream_that_is_behind_is_free_in_the_next_step_of_the_loop() -> None:
    site = Site()
    transport = FakeTransport()
    subscriber, freed = site.join(transport)
    subscriber.fall_behind(subscriber.position)
    subscriber.drained()  # queues it
    site.hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    del subscriber, transport
    await settle()
    assert sorted(freed) == EVERYTHING


@pytest.mark.parametrize("end", ["drained", "lost", "overdue"])
async def test_a_stream_whose_closing_block_waits_is_free_when_it_waits_no_longer(end: str) -> None:
    site = Site()
    transport = FakeTransport()
    subscriber, freed = site.join(transport)
    transport.held = True
    site.hub.close(subscriber, CloseReason.KICKED)
    assert site.hub.slow == 1
    assert freed == ["grant"]
    if end == "drained":
        transport.drain()
    elif end == "lost":
        subscriber.lost()
    else:
        site.clock.now += WRITE_DEADLINE + 1
        await site.hub.close_slow_subscribers(deadline=WRITE_DEADLINE)
    assert transport.aborted == (end != "drained")
    del subscriber, transport
    assert sorted(freed) == EVERYTHING


async def test_a_stream_is_free_after_a_recheck_although_the_next_may_come_much_later() -> None:
    site = Site()
    running = asyncio.create_task(site.enforcement.run())
    subscriber, freed = site.join()
    order = ControlEntry(ControlAction.RECHECK, ("user:5",), "", position=make_position(2))
    await site.enforcement.apply([order])
    await settle()
    site.hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    del subscriber
    await settle()
    assert sorted(freed) == EVERYTHING
    running.cancel()


async def test_a_drain_holds_no_stream_that_it_has_closed() -> None:
    site = Site()
    freed = site.join()[1]
    stays = site.join(FakeTransport(held=True))[0]
    draining = asyncio.create_task(drain(site.hub, over=0, poll_seconds=0, grace_seconds=1))
    async with asyncio.timeout(DEADLINE):
        while not freed:  # noqa: ASYNC110 - nothing reports that an object is freed
            await asyncio.sleep(0)
    assert stays.open
    assert sorted(freed) == EVERYTHING
    site.clock.now += 2
    async with asyncio.timeout(DEADLINE):
        await draining


async def test_the_timer_wheels_hold_nothing_of_streams_that_have_ended() -> None:
    site = Site()
    for _ in range(50):
        subscriber, _ = site.join()
        await site.visit()
        site.hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    timers = (site.keepalive._visits, site.enforcement._timers)
    assert [len(each) for each in timers] == [0, 0]
