"""The scenarios: faults of a server, its Redis and its subscribers, each over when it returns."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from benchmarks.scorecard.run import Run, Steps, in_thread
from tests.harness.redis_faults import FaultyRedis, full, killed, read_only, restart_empty, stopped

EVENTS_BEFORE = 20
BURST = 1000
BURST_BYTES = 4096
NEWCOMERS = 10
SHORT_OUTAGE_SECONDS = 3.0
LONG_OUTAGE_SECONDS = 15.0
STOPPED_SECONDS = 6.0
STALLED_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    steps: Steps


async def _cut(run: Run) -> None:
    for _ in range(2):
        for subscriber in run.subscribers:
            subscriber.cut()
            await run.publisher.wait_for_attempts(1)
        await run.wait_until_all_receive()


async def _kill(run: Run) -> None:
    await run.publisher.wait_for_acknowledged(EVENTS_BEFORE)
    run.server.kill()
    await in_thread(run.server.start)


async def _roll(run: Run) -> None:
    await run.publisher.wait_for_acknowledged(EVENTS_BEFORE)
    await in_thread(run.server.roll)


def _redis_fault(
    fault: Callable[[FaultyRedis], AbstractContextManager[None]],
    *,
    seconds: float,
    attempts: int = 0,
) -> Steps:
    """A fault of Redis for so many seconds, or until so many `attempts` to publish."""

    async def apply(run: Run) -> None:
        await run.publisher.wait_for_acknowledged(EVENTS_BEFORE)
        with fault(run.faulty_redis), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if attempts:
                    await run.publisher.wait_for_attempts(attempts)
                else:
                    await asyncio.Event().wait()

    return apply


def _loss(*, server: bool) -> Steps:
    """Redis loses the events that were published while half of the subscribers were away."""

    async def apply(run: Run) -> None:
        away = run.subscribers[::2]
        for subscriber in away:
            subscriber.leave()
        await run.publisher.wait_for_acknowledged(EVENTS_BEFORE)
        if server:
            run.server.kill()
        restart_empty(run.faulty_redis)
        if server:
            await in_thread(run.server.start)
        with suppress(TimeoutError):
            async with asyncio.timeout(SHORT_OUTAGE_SECONDS):
                await run.publisher.wait_for_acknowledged(EVENTS_BEFORE)
        for subscriber in away:
            subscriber.come_back()

    return apply


async def _burst(run: Run) -> None:
    slow = run.add_subscriber(slow=True)
    run.start(slow)
    await run.wait_for_new_event([slow])
    slow.stop_reading()
    run.publisher.padding, run.publisher.pause_seconds = BURST_BYTES, 0
    await run.publisher.wait_for_attempts(BURST)
    run.publisher.padding = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(STALLED_SECONDS):
            await run.publisher.wait_for_attempts(10 * BURST)
    slow.resume_reading()


async def _join(run: Run) -> None:
    first = run.subscribers[0]
    start = min(first.cursors)
    await run.publisher.wait_for_acknowledged(EVENTS_BEFORE)
    run.publisher.pause_seconds = 0
    for _ in range(NEWCOMERS):
        newcomer = run.add_subscriber()
        newcomer.resume(first, start)
        run.start(newcomer)
        await run.publisher.wait_for_attempts(2)
    await run.wait_until_all_receive()


SCENARIOS = (
    Scenario("cut", "each subscriber's connection is cut twice, and comes back", _cut),
    Scenario("kill", "the server is killed (`kill -9`) and started again", _kill),
    Scenario("restart", "its workers are replaced in a rolling restart", _roll),
    Scenario(
        "redis-kill",
        f"Redis is killed, and is back with its data after {SHORT_OUTAGE_SECONDS:g} s",
        _redis_fault(killed, seconds=SHORT_OUTAGE_SECONDS),
    ),
    Scenario(
        "redis-outage",
        f"Redis is killed, and is back with its data after {LONG_OUTAGE_SECONDS:g} s",
        _redis_fault(killed, seconds=LONG_OUTAGE_SECONDS),
    ),
    Scenario(
        "redis-loss",
        "half of the subscribers are away; Redis is killed and comes back without its data",
        _loss(server=False),
    ),
    Scenario(
        "reboot",
        "the same, and the server is killed with it",
        _loss(server=True),
    ),
    Scenario(
        "redis-stop",
        f"Redis stands still (`SIGSTOP`) for {STOPPED_SECONDS:g} s",
        _redis_fault(stopped, seconds=STOPPED_SECONDS),
    ),
    Scenario(
        "redis-full",
        "Redis is full (`maxmemory`), and then is not",
        _redis_fault(full, seconds=STOPPED_SECONDS, attempts=EVENTS_BEFORE),
    ),
    Scenario(
        "redis-read-only",
        "Redis is a replica for a while (read-only), and then a master again",
        _redis_fault(read_only, seconds=STOPPED_SECONDS, attempts=EVENTS_BEFORE),
    ),
    Scenario(
        "burst",
        f"a burst of {BURST:,} events of 4 KiB, and one subscriber who does not read meanwhile",
        _burst,
    ),
    Scenario(
        "join",
        f"{NEWCOMERS} more come with an earlier id, while events are published",
        _join,
    ),
)
