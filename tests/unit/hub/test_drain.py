"""Draining: every stream ends with a reason, not all at once, and none of them holds it up."""

import asyncio
import logging
from random import Random

import pytest

from notifications.hub.drain import drain
from notifications.hub.hub import Hub
from notifications.hub.scheduling import Timing
from notifications.hub.subscribers import CloseReason, Start
from notifications.hub.window import Window
from notifications.log.entries import Retention
from notifications.transport.base import Payload
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

DEADLINE = 30.0
OVER = 0.3
POLL_SECONDS = 0.005
GRACE_SECONDS = 0.05


class DatedTransport(FakeTransport):
    """Knows when it ended."""

    ended_at = 0.0

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        super().end(payload, break_off=break_off)
        self.ended_at = asyncio.get_running_loop().time()


class Late(Random):
    """Draws moments near the end of each interval."""

    def random(self) -> float:
        return 0.9


def hub_of(timing: Timing | None = None) -> Hub:
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1)))
    return Hub(EPOCH, window, timing=timing)


@pytest.fixture
async def hub() -> Hub:
    return hub_of()


def join(hub: Hub, *, held: bool = False) -> DatedTransport:
    transport = DatedTransport(held=held)
    hub.subscribe(frozenset({"t"}), transport, Start())
    return transport


async def drained(hub: Hub, *, over: float) -> float:
    """How long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(DEADLINE):
        await drain(hub, over=over, poll_seconds=POLL_SECONDS, grace_seconds=GRACE_SECONDS)
    return loop.time() - began


async def test_every_stream_gets_the_reason_and_each_another_time_to_reconnect() -> None:
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
    # No stream ends before its time; a busy machine may be as late as it likes.
    assert all(end >= OVER * number / 60 - 0.01 for number, end in enumerate(ends))
    assert ends[0] < ends[-1]


async def test_streams_do_not_end_in_the_order_in_which_they_joined(hub: Hub) -> None:
    transports = [join(hub) for _ in range(60)]
    await drained(hub, over=OVER)
    assert [transport.ended_at for transport in transports] != sorted(
        transport.ended_at for transport in transports
    )


async def test_over_no_time_every_stream_ends_at_once(hub: Hub) -> None:
    transports = [join(hub) for _ in range(500)]
    await drained(hub, over=0)
    assert all(transport.ended for transport in transports)


async def test_a_busy_transport_gets_the_reason_once_it_is_free(hub: Hub) -> None:
    slow = join(hub, held=True)
    draining_all = asyncio.create_task(
        drain(hub, over=0, poll_seconds=POLL_SECONDS, grace_seconds=DEADLINE)
    )
    await asyncio.sleep(0)
    assert not slow.ended
    slow.held = False
    slow.drain()
    async with asyncio.timeout(DEADLINE):
        await draining_all
    assert slow.ended
    assert slow.received[-1] == "stream.closing"


async def test_a_client_that_reads_nothing_is_cut_off_and_holds_up_no_other(
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


async def test_a_client_that_leaves_meanwhile_gets_nothing_more() -> None:
    hub = hub_of(Timing(random=Late()))  # so that its stream does not end at once
    transport = join(hub)
    [subscriber] = hub.subscribers
    draining_all = asyncio.create_task(drain(hub, over=OVER))
    await asyncio.sleep(0)
    hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    async with asyncio.timeout(DEADLINE):
        await draining_all
    assert transport.received == ["stream.cursor"]


async def test_a_process_without_streams_drains_at_once(hub: Hub) -> None:
    assert await drained(hub, over=60) < 1
