"""Refused streams are held for a while, and only so many of them."""

import asyncio
from contextlib import ExitStack

import pytest

from notifications.hub import runtime
from notifications.hub.refusals import MAX_HELD, HeldRefusals
from notifications.hub.subscribers import CloseReason
from tests.unit.hub.test_quotas import (
    DEADLINE,
    PATH,
    Limit,
    connection,
    is_refusal,
    limit,  # noqa: F401
)

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

FULL = CloseReason.TOO_MANY_OF_ADDRESS


def test_so_many_are_held_and_others_end_at_once() -> None:
    refusals = HeldRefusals(maximum=2)
    with ExitStack() as stack:
        seconds = [stack.enter_context(refusals.hold(FULL)) for _ in range(3)]
        assert [bool(each) for each in seconds] == [True, True, False]
    with refusals.hold(FULL) as again:
        assert again


@pytest.mark.parametrize("reason", [CloseReason.STARTING, CloseReason.DRAINING])
def test_what_will_soon_be_over_is_not_held(reason: CloseReason) -> None:
    with HeldRefusals().hold(reason) as seconds:
        assert seconds == 0


def hold_for(seconds: float) -> None:
    runtime.start().quotas.held_refusals = HeldRefusals(seconds=seconds)


async def test_a_client_that_ignores_retry_gets_the_reason_at_once_and_the_end_later(
    limit: Limit,  # noqa: F811
) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with connection() as one:
        await one.event()
        async with connection() as late:
            assert is_refusal(await late.event(), FULL)
            assert not late.task.done()
        hold_for(0.01)
        async with connection() as late:
            assert is_refusal(await late.event(), FULL)
            assert await late.message() == {
                "type": "http.response.body",
                "body": b"",
                "more_body": False,
            }


async def test_clients_that_leave_make_room_for_others(limit: Limit) -> None:  # noqa: F811
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with connection() as one:
        await one.event()
        for _ in range(MAX_HELD + 1):
            async with connection() as late:
                assert is_refusal(await late.event(), FULL)
                assert not late.task.done()


@pytest.mark.parametrize("query", ["&as=datastar", ""])
async def test_datastar_is_refused_without_a_proper_end(
    limit: Limit,  # noqa: F811
    query: str,
) -> None:
    limit(MAX_STREAMS_PER_ADDRESS=1)
    async with connection() as one:
        await one.event()
        hold_for(0.01)
        late = connection(PATH + query)
        late.scope["headers"] = [(b"host", b"testserver"), (b"datastar-request", b"true")]
        async with late:
            assert is_refusal(await late.event(), FULL)
            async with asyncio.timeout(DEADLINE):
                await late.task
            assert late._sent.empty(), "no message has said that the body is complete"
