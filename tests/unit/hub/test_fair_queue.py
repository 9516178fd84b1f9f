"""Turns: in order, in slices, and whatever one of them does."""

import asyncio

import pytest

from notifications.hub import scheduling as scheduling
from notifications.hub.scheduling import FairQueue, TimeSlice


async def test_each_is_served_in_order_and_those_who_come_meanwhile_too() -> None:
    served = []
    done = asyncio.Event()

    def serve(number: int) -> None:
        served.append(number)
        if number < 5:
            turns.add(number + 10)
        elif number == 14:
            done.set()

    turns = FairQueue(serve)
    for number in range(5):
        turns.add(number)
    assert served == []
    async with asyncio.timeout(5):
        await done.wait()
    assert served == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


async def test_the_loop_goes_on_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(TimeSlice):
        SLICE = 0.0

    monkeypatch.setattr(scheduling, "TimeSlice", Short)
    served: list[int] = []
    turns = FairQueue(served.append)
    for number in range(1000):
        turns.add(number)
    rounds = 0
    async with asyncio.timeout(5):
        while len(served) < 1000:
            await asyncio.sleep(0)
            rounds += 1
    assert rounds > 100


async def test_one_that_fails_does_not_hold_up_the_next() -> None:
    loop = asyncio.get_running_loop()
    failed = []
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
    done = asyncio.Event()

    def serve(event: asyncio.Event | None) -> None:
        assert event is not None
        event.set()

    turns = FairQueue(serve)
    turns.add(None)
    turns.add(done)
    async with asyncio.timeout(5):
        await done.wait()
    assert [type(error) for error in failed] == [AssertionError]
