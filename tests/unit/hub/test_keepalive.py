"""Keep-alives: each subscriber gets them, spread over time, until it leaves."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from notifications.hub.hub import Hub
from notifications.hub.keepalive import KeepAlive
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.entries import Retention
from notifications.transport.base import Payload
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

DEADLINE = 30.0
TICK_SECONDS = 0.005


class CountingTransport(FakeTransport):
    """Sets `satisfied` when it has been written to often enough."""

    def __init__(self, *, enough: int) -> None:
        super().__init__()
        self._enough = enough
        self.satisfied = asyncio.Event()

    def write(self, payload: Payload) -> None:
        super().write(payload)
        if len(self.chunks) >= self._enough:
            self.satisfied.set()


def make_hub() -> Hub:
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1)))
    return Hub(EPOCH, window)


def keep_alive(hub: Hub, *, period: float, write_deadline: float = 10) -> KeepAlive:
    return KeepAlive(hub, period=period, write_deadline=write_deadline, tick_seconds=TICK_SECONDS)


def join(hub: Hub, transport: FakeTransport) -> Subscriber:
    return hub.subscribe(frozenset({"t"}), transport, Start())


async def test_every_stream_is_kept_alive_again_and_again() -> None:
    hub = make_hub()
    visits = keep_alive(hub, period=0.02)
    transports = [CountingTransport(enough=4) for _ in range(20)]
    for transport in transports:
        visits.add(join(hub, transport))
    running = asyncio.create_task(visits.run())
    async with asyncio.timeout(DEADLINE):
        for transport in transports:
            await transport.satisfied.wait()
    running.cancel()
    assert set(transports[0].received) == {"stream.cursor"}


async def test_a_subscriber_that_left_is_forgotten() -> None:
    hub = make_hub()
    visits = keep_alive(hub, period=0.01)
    left, stays = FakeTransport(), CountingTransport(enough=5)
    leaver = join(hub, left)
    visits.add(leaver)
    visits.add(join(hub, stays))
    hub.leave(leaver, CloseReason.CLIENT_LEFT)
    running = asyncio.create_task(visits.run())
    async with asyncio.timeout(DEADLINE):
        await stays.satisfied.wait()
    running.cancel()
    assert len(left.chunks) == 1
    assert len(visits._visits) == 1


async def test_visits_are_spread_by_a_quarter_either_way() -> None:
    hub = make_hub()
    visits = keep_alive(hub, period=10)
    joined = [join(hub, FakeTransport()) for _ in range(500)]
    now = asyncio.get_running_loop().time() / TICK_SECONDS
    for subscriber in joined:
        visits.add(subscriber)
    took = asyncio.get_running_loop().time() / TICK_SECONDS - now
    due = [tick - now for tick in visits._visits._due]
    period = 10 / TICK_SECONDS
    assert period * 0.74 < min(due) < period * 0.8
    assert period * 1.2 < max(due) < period * 1.26 + took


async def test_a_process_wakes_up_for_many_streams_at_once() -> None:
    """Twice a second with the settings of production, and sooner where a period is short."""
    ticks = [
        KeepAlive(make_hub(), period=period, write_deadline=deadline)._tick_seconds
        for period, deadline in ((20, 30), (300, 300), (8, 30), (20, 8), (0.2, 30))
    ]
    assert ticks == [0.5, 0.5, 0.2, 0.2, 0.1]


async def test_a_client_that_accepts_nothing_is_cut_off_at_the_deadline() -> None:
    hub = make_hub()
    visits = keep_alive(hub, period=10, write_deadline=0.02)
    transport = FakeTransport(held=True)
    join(hub, transport)
    running = asyncio.create_task(visits.run())
    async with asyncio.timeout(DEADLINE):
        while not transport.aborted:  # noqa: ASYNC110 - the fake sets no event
            await asyncio.sleep(0)
    running.cancel()
    assert hub.subscribers == []


async def test_a_connection_ends_that_acknowledges_nothing_for_the_write_deadline() -> None:
    hub = make_hub()
    transport = FakeTransport()
    keep_alive(hub, period=10, write_deadline=7).add(join(hub, transport))
    assert transport.unacknowledged_seconds == 7


# Age


class EndingTransport(FakeTransport):
    """Sets `over` when it has ended."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__(held=held)
        self.over = asyncio.Event()

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        super().end(payload, break_off=break_off)
        self.over.set()


@pytest.fixture
async def visits() -> AsyncIterator[tuple[Hub, KeepAlive]]:
    hub = make_hub()
    visits = KeepAlive(
        hub,
        period=30,
        write_deadline=30,
        max_age=0.2,
        tick_seconds=TICK_SECONDS,
        busy_seconds=0.01,
    )
    running = asyncio.create_task(visits.run())
    yield hub, visits
    running.cancel()


async def test_a_stream_that_is_too_old_ends_and_its_connection_with_it(
    visits: tuple[Hub, KeepAlive],
) -> None:
    hub, keepalive = visits
    start = time.monotonic()
    transports = [EndingTransport() for _ in range(10)]
    for transport in transports:
        keepalive.add(join(hub, transport))
    ages = []
    async with asyncio.timeout(DEADLINE):
        for transport in transports:
            await transport.over.wait()
            ages.append(time.monotonic() - start)
    assert ages[0] >= 0.2 * 0.75
    *_, last = transports[0].events
    assert (last.type, last.data) == ("stream.closing", '{"reason":"too_old"}')
    assert last.retry is not None
    assert last.retry <= 1_000
    assert hub.subscribers == []


async def test_maximum_ages_are_spread_by_a_quarter_either_way() -> None:
    hub = make_hub()
    keepalive = KeepAlive(hub, period=30, write_deadline=30, max_age=1000)
    now = asyncio.get_running_loop().time()
    joined = [join(hub, FakeTransport()) for _ in range(300)]
    for subscriber in joined:
        keepalive.add(subscriber)
    took = asyncio.get_running_loop().time() - now
    ages = [subscriber.expires_at - now for subscriber in joined]
    assert 750 <= min(ages) < 790
    assert 1210 < max(ages) < 1250 + took


async def test_an_old_stream_whose_transport_is_busy_ends_when_that_has_drained(
    visits: tuple[Hub, KeepAlive],
) -> None:
    hub, keepalive = visits
    transport = EndingTransport(held=True)
    subscriber = join(hub, transport)
    subscriber.limit_age(0.0)
    keepalive._schedule(subscriber, now=asyncio.get_running_loop().time())
    first_visit = subscriber.visit_tick
    async with asyncio.timeout(DEADLINE):
        while keepalive._visits._last_tick < first_visit:  # noqa: ASYNC110 - the fake sets no event
            await asyncio.sleep(0.001)
    assert subscriber.open
    transport.held = False
    transport.drain()
    async with asyncio.timeout(DEADLINE):
        await transport.over.wait()
    assert not transport.aborted
