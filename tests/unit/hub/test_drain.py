"""Draining: everyone is told why, not all at once, and nobody holds it up."""

import asyncio
import logging
import random

import pytest

from notifications.hub import drain as drain_module
from notifications.hub.drain import drain
from notifications.hub.hub import Hub
from notifications.hub.subscribers import CloseReason, Start
from notifications.hub.window import Window
from notifications.log.base import Retention
from notifications.transport.base import Payload
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

DEADLINE = 10.0
OVER = 0.3


class DatedTransport(FakeTransport):
    """Knows when it ended."""

    ended_at = 0.0

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        super().end(payload, hang_up=hang_up)
        self.ended_at = asyncio.get_running_loop().time()


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(drain_module, "SLICE", 0.005)
    monkeypatch.setattr(drain_module, "GRACE", 0.05)
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1)))
    return Hub(EPOCH, window)


def join(hub: Hub, *, held: bool = False) -> DatedTransport:
    transport = DatedTransport(held=held)
    hub.subscribe(frozenset({"t"}), transport, Start())
    return transport


async def drained(hub: Hub, *, over: float) -> float:
    """How long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(DEADLINE):
        await drain(hub, over=over)
    return loop.time() - began


async def test_every_stream_is_told_and_when_to_come_back_differs() -> None:
    hub = Hub(EPOCH, Window(Retention(100, 10**9, 10**6)))
    transports = [join(hub) for _ in range(50)]
    await drained(hub, over=0)
    for transport in transports:
        assert transport.ended
        assert (transport.events[-1].type, transport.events[-1].data) == (
            "stream.closing",
            '{"reason":"draining"}',
        )
    assert len({transport.events[-1].retry for transport in transports}) > 10
    assert hub.subscribers == []


async def test_the_ends_are_spread_over_the_time(hub: Hub) -> None:
    transports = [join(hub) for _ in range(60)]
    began = asyncio.get_running_loop().time()
    assert await drained(hub, over=OVER) >= OVER * 0.9
    ends = sorted(transport.ended_at - began for transport in transports)
    # Not one slice is late before its time; a busy machine may be late as it likes.
    assert all(end >= OVER * number / 60 - 0.01 for number, end in enumerate(ends))
    assert ends[0] < ends[-1]


async def test_whoever_joined_first_is_not_told_first(hub: Hub) -> None:
    transports = [join(hub) for _ in range(60)]
    await drained(hub, over=OVER)
    assert [transport.ended_at for transport in transports] != sorted(
        transport.ended_at for transport in transports
    )


async def test_at_once_is_at_once_for_a_crowd(hub: Hub) -> None:
    transports = [join(hub) for _ in range(500)]
    await drained(hub, over=0)
    assert all(transport.ended for transport in transports)


async def test_a_busy_wire_is_told_when_it_is_free(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "GRACE", DEADLINE)
    slow = join(hub, held=True)
    draining_all = asyncio.create_task(drain(hub, over=0))
    await asyncio.sleep(0)
    assert not slow.ended
    slow.held = False
    slow.drain()
    async with asyncio.timeout(DEADLINE):
        await draining_all
    assert slow.ended
    assert slow.said[-1] == "stream.closing"


async def test_who_reads_nothing_is_cut_and_holds_nobody_up(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    stalled, other = join(hub, held=True), join(hub)
    with caplog.at_level(logging.INFO, "carillon"):
        await drained(hub, over=0)
    assert stalled.aborted
    assert other.ended
    assert hub.subscribers == []
    assert [record.getMessage() for record in caplog.records if "drain" in record.getMessage()] == [
        "drain.started streams=2 seconds=0",
        "drain.finished streams=2 cut=1",
    ]


async def test_who_leaves_meanwhile_is_not_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.9)  # so that it is not told at once
    transport = join(hub)
    [subscriber] = hub.subscribers
    draining_all = asyncio.create_task(drain(hub, over=OVER))
    await asyncio.sleep(0)
    hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    async with asyncio.timeout(DEADLINE):
        await draining_all
    assert transport.said == ["stream.cursor"]


async def test_nobody_there_takes_no_time(hub: Hub) -> None:
    assert await drained(hub, over=60) < 1
