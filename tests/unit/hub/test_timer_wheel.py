"""The timing wheel: nothing early, everything once, and nothing of what was taken out."""

import asyncio
import random

import pytest

from notifications.hub.scheduling import TimerWheel


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock.time)
    return clock


async def test_each_is_due_once_never_early_and_at_most_a_tick_late(clock: Clock) -> None:
    wheel: TimerWheel[int] = TimerWheel(0.1)
    began = clock.now
    seconds = {number: random.uniform(0, 30) for number in range(500)}
    for number, after in seconds.items():
        wheel.add(number, after=after)
    assert len(wheel) == 500
    seen: dict[int, float] = {}
    while clock.now < began + 31:
        clock.now += random.choice([0.01, 0.05, 0.1, 0.7])
        for number in wheel.due():
            assert number not in seen
            late = clock.now - (began + seconds[number])
            assert late > -1e-9
            assert late < 0.7 + 0.1 + 1e-9
            seen[number] = clock.now
    assert len(seen) == 500
    assert len(wheel) == 0


async def test_what_was_taken_out_is_not_due(clock: Clock) -> None:
    wheel: TimerWheel[str] = TimerWheel(0.1)
    stays, goes = wheel.add("stays", after=1), wheel.add("goes", after=1)
    assert stays == goes
    wheel.remove("goes", goes)
    wheel.remove("goes", goes)
    clock.now += 2
    assert wheel.due() == ["stays"]
    wheel.remove("stays", stays)
    assert wheel.due() == []


async def test_an_empty_place_takes_no_memory(clock: Clock) -> None:
    wheel: TimerWheel[str] = TimerWheel(0.1)
    wheel.remove("x", wheel.add("x", after=60))
    assert not wheel._due


async def test_what_is_due_already_comes_at_the_next_tick(clock: Clock) -> None:
    wheel: TimerWheel[str] = TimerWheel(0.1)
    wheel.add("late", after=-5)
    assert wheel.due() == []
    clock.now += 0.11
    assert wheel.due() == ["late"]
