"""What befalls a server, its Redis and its subscribers. When each returns, all is well again."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from benchmarks.scorecard.run import Match, Play, in_thread
from tests.harness.redis_faults import Place, full, killed, read_only, restart_empty, stopped

ENOUGH = 20
BURST = 1000
BURST_BYTES = 4096
NEWCOMERS = 10
MOMENT = 3.0
OUTAGE = 15.0
STOPPED = 6.0
STALLED = 3.0


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    title: str
    play: Play


async def _cut(match: Match) -> None:
    for _ in range(2):
        for subscriber in match.subscribers:
            subscriber.cut()
            await match.publisher.attempts(1)
        await match.together()


async def _kill(match: Match) -> None:
    await match.publisher.more(ENOUGH)
    match.server.kill()
    await in_thread(match.server.start)


async def _roll(match: Match) -> None:
    await match.publisher.more(ENOUGH)
    await in_thread(match.server.roll)


def _lasting(
    fault: Callable[[Place], AbstractContextManager[None]], *, seconds: float, attempts: int = 0
) -> Play:
    """A fault of Redis, while events are published as before. With `attempts`, until so many."""

    async def play(match: Match) -> None:
        await match.publisher.more(ENOUGH)
        with fault(match.place), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if attempts:
                    await match.publisher.attempts(attempts)
                else:
                    await asyncio.Event().wait()

    return play


def _losing(*, server: bool) -> Play:
    """Half of the subscribers are away while events are published, and Redis loses them all."""

    async def play(match: Match) -> None:
        away = match.subscribers[::2]
        for subscriber in away:
            subscriber.leave()
        await match.publisher.more(ENOUGH)
        if server:
            match.server.kill()
        restart_empty(match.place)
        if server:
            await in_thread(match.server.start)
        with suppress(TimeoutError):
            async with asyncio.timeout(MOMENT):
                await match.publisher.more(ENOUGH)
        for subscriber in away:
            subscriber.at_home.set()

    return play


async def _burst(match: Match) -> None:
    slow = match.join(slow=True)
    match.let_in(slow)
    await match.seated([slow])
    slow.reading.clear()
    match.publisher.padding, match.publisher.pause = BURST_BYTES, 0
    await match.publisher.attempts(BURST)
    match.publisher.padding = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(STALLED):
            await match.publisher.attempts(10 * BURST)
    slow.reading.set()


async def _join(match: Match) -> None:
    first = match.subscribers[0]
    start = min(first.cursors)
    await match.publisher.more(ENOUGH)
    match.publisher.pause = 0
    for _ in range(NEWCOMERS):
        newcomer = match.join()
        newcomer.resume(first, start)
        match.let_in(newcomer)
        await match.publisher.attempts(2)
    await match.together()


SCENARIOS = (
    Scenario("cut", "each subscriber's connection is cut twice, and comes back", _cut),
    Scenario("kill", "the server is killed (`kill -9`) and started again", _kill),
    Scenario("restart", "its workers are replaced in a rolling restart", _roll),
    Scenario(
        "redis-kill",
        f"Redis is killed, and is back with its data after {MOMENT:g} s",
        _lasting(killed, seconds=MOMENT),
    ),
    Scenario(
        "redis-outage",
        f"Redis is killed, and is back with its data after {OUTAGE:g} s",
        _lasting(killed, seconds=OUTAGE),
    ),
    Scenario(
        "redis-loss",
        "half of the subscribers are away; Redis is killed and comes back without its data",
        _losing(server=False),
    ),
    Scenario(
        "reboot",
        "the same, and the server is killed with it",
        _losing(server=True),
    ),
    Scenario(
        "redis-stop",
        f"Redis stands still (`SIGSTOP`) for {STOPPED:g} s",
        _lasting(stopped, seconds=STOPPED),
    ),
    Scenario(
        "redis-full",
        "Redis is full (`maxmemory`), and then is not",
        _lasting(full, seconds=STOPPED, attempts=ENOUGH),
    ),
    Scenario(
        "redis-read-only",
        "Redis is a replica for a while (read-only), and then a master again",
        _lasting(read_only, seconds=STOPPED, attempts=ENOUGH),
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
