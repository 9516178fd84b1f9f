"""Scheduling: a fair queue that serves in slices, and a timer wheel that is never early."""

import asyncio
import random

import pytest

from notifications.hub.scheduling import FairQueue, TimerWheel, TimeSlice
from tests.harness.fakes import FakeClock

# The fair queue


async def test_items_are_served_in_order_and_so_are_those_that_are_added_meanwhile() -> None:
    served = []
    done = asyncio.Event()

    def serve(number: int) -> None:
        served.append(number)
        if number < 5:
            queue.add(number + 10)
        elif number == 14:
            done.set()

    queue = FairQueue(serve)
    for number in range(5):
        queue.add(number)
    assert served == []
    async with asyncio.timeout(20):
        await done.wait()
    assert served == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


async def test_the_loop_goes_on_between_slices() -> None:
    served: list[int] = []
    queue = FairQueue(served.append, time_slice=lambda: TimeSlice(0.0))
    for number in range(1000):
        queue.add(number)
    rounds = 0
    async with asyncio.timeout(20):
        while len(served) < 1000:
            await asyncio.sleep(0)
            rounds += 1
    assert rounds > 100


async def test_an_item_that_fails_does_not_hold_up_the_next() -> None:
    loop = asyncio.get_running_loop()
    failed = []
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
    done = asyncio.Event()

    def serve(event: asyncio.Event | None) -> None:
        assert event is not None
        event.set()

    queue = FairQueue(serve)
    queue.add(None)
    queue.add(done)
    async with asyncio.timeout(20):
        await done.wait()
    assert [type(error) for error in failed] == [AssertionError]


# The timer wheel: no item is due early, each one is due once, and a removed one never


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_each_item_is_due_once_never_early_and_at_most_a_tick_late(clock: FakeClock) -> None:
    timers: TimerWheel[int] = TimerWheel(0.1, clock=clock)
    start = clock.now
    seconds = {number: random.uniform(0, 30) for number in range(500)}
    for number, after in seconds.items():
        timers.add(number, after=after)
    assert len(timers) == 500
    seen: dict[int, float] = {}
    while clock.now < start + 31:
        clock.now += random.choice([0.01, 0.05, 0.1, 0.7])
        for number in timers.due():
            assert number not in seen
            late = clock.now - (start + seconds[number])
            assert late > -1e-9
            assert late < 0.7 + 0.1 + 1e-9
            seen[number] = clock.now
    assert len(seen) == 500
    assert len(timers) == 0


def test_a_removed_item_is_not_due(clock: FakeClock) -> None:
    timers: TimerWheel[str] = TimerWheel(0.1, clock=clock)
    stays, goes = timers.add("stays", after=1), timers.add("goes", after=1)
    assert stays == goes
    timers.remove("goes", goes)
    timers.remove("goes", goes)
    clock.now += 2
    assert timers.due() == ["stays"]
    timers.remove("stays", stays)
    assert timers.due() == []


def test_an_empty_tick_takes_no_memory(clock: FakeClock) -> None:
    timers: TimerWheel[str] = TimerWheel(0.1, clock=clock)
    timers.remove("x", timers.add("x", after=60))
    assert not timers._due


def test_an_item_that_is_due_already_comes_at_the_next_tick(clock: FakeClock) -> None:
    timers: TimerWheel[str] = TimerWheel(0.1, clock=clock)
    timers.add("late", after=-5)
    assert timers.due() == []
    clock.now += 0.11
    assert timers.due() == ["late"]
