"""Keep-alives: all in their turn, spread over time, and no more for those who left."""

import asyncio

import pytest

from notifications.hub import keepalive
from notifications.hub.hub import Hub
from notifications.hub.keepalive import KeepAlive
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import Retention
from notifications.transport.base import Payload
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

DEADLINE = 10.0


class CountingTransport(FakeTransport):
    """Says when it has been written to often enough."""

    def __init__(self, *, enough: int) -> None:
        super().__init__()
        self._enough = enough
        self.satisfied = asyncio.Event()

    def write(self, payload: Payload) -> None:
        super().write(payload)
        if len(self.chunks) >= self._enough:
            self.satisfied.set()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "TICK", 0.005)


def hub() -> Hub:
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1)))
    return Hub(EPOCH, window)


def join(hub: Hub, transport: FakeTransport) -> Subscriber:
    return hub.subscribe(frozenset({"t"}), transport, Start())


async def test_everyone_is_kept_alive_again_and_again() -> None:
    here = hub()
    visits = KeepAlive(here, period=0.02, write_deadline=10)
    transports = [CountingTransport(enough=4) for _ in range(20)]
    for transport in transports:
        visits.add(join(here, transport))
    running = asyncio.create_task(visits.run())
    async with asyncio.timeout(DEADLINE):
        for transport in transports:
            await transport.satisfied.wait()
    running.cancel()
    assert set(transports[0].said) == {"stream.cursor"}


async def test_those_who_left_are_forgotten() -> None:
    here = hub()
    visits = KeepAlive(here, period=0.01, write_deadline=10)
    gone, stays = FakeTransport(), CountingTransport(enough=5)
    leaver = join(here, gone)
    visits.add(leaver)
    visits.add(join(here, stays))
    here.leave(leaver, CloseReason.CLIENT_LEFT)
    running = asyncio.create_task(visits.run())
    async with asyncio.timeout(DEADLINE):
        await stays.satisfied.wait()
    running.cancel()
    assert len(gone.chunks) == 1
    assert leaver not in [due for tick in visits._visits._due.values() for due in tick]


async def test_visits_are_spread_by_a_quarter_either_way() -> None:
    here = hub()
    visits = KeepAlive(here, period=10, write_deadline=10)
    joined = [join(here, FakeTransport()) for _ in range(500)]
    now = asyncio.get_running_loop().time() / keepalive.TICK
    for subscriber in joined:
        visits.add(subscriber)
    took = asyncio.get_running_loop().time() / keepalive.TICK - now
    due = [tick - now for tick in visits._visits._due]
    period = 10 / keepalive.TICK
    assert period * 0.74 < min(due) < period * 0.8
    assert period * 1.2 < max(due) < period * 1.26 + took


async def test_a_client_that_accepts_nothing_is_cut_at_the_deadline() -> None:
    here = hub()
    visits = KeepAlive(here, period=10, write_deadline=0.02)
    transport = FakeTransport(held=True)
    join(here, transport)
    running = asyncio.create_task(visits.run())
    async with asyncio.timeout(DEADLINE):
        while not transport.aborted:  # noqa: ASYNC110 - the fake has nobody to tell
            await asyncio.sleep(0)
    running.cancel()
    assert here.subscribers == []


async def test_a_client_that_does_not_acknowledge_a_keep_alive_is_cut_at_the_deadline() -> None:
    here = hub()
    visits = KeepAlive(here, period=0.02, write_deadline=0.02)
    gone, stays = CountingTransport(enough=100), CountingTransport(enough=6)
    gone.silent = True
    running = asyncio.create_task(visits.run())
    for transport in (gone, stays):
        visits.add(join(here, transport))
    async with asyncio.timeout(DEADLINE):
        await stays.satisfied.wait()
    running.cancel()
    assert gone.aborted
    assert len(gone.chunks) > 1, "it was told before"
    assert [member.transport for member in here.subscribers] == [stays]
