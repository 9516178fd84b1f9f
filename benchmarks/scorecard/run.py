"""One scenario with one contestant: everybody in place, what befalls them, and the verdict."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.peers import Store
from benchmarks.processes import Broken
from benchmarks.scorecard.clients import Publisher, Subscriber
from benchmarks.scorecard.contestants import Contestant, Server
from benchmarks.scorecard.judge import Seat, Verdict, judge, missing
from tests.harness.checker import violations
from tests.harness.redis_faults import Place, place

SUBSCRIBERS = 6
START = 60.0
PLAY = 150.0
AFTERWARDS = 20
RECOVERY = 20.0
"""Seconds after which who has heard nothing new is deaf."""
LAST = 15.0
LATE = 3.0


async def in_thread(what: Callable[[], None]) -> None:
    """What blocks, to its end also where we are interrupted: it may have started something."""
    task = asyncio.create_task(asyncio.to_thread(what))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@dataclass
class Match:
    """Who takes part. A scenario does to them what it wants, and all is well when it returns."""

    contestant: Contestant
    place: Place
    server: Server
    publisher: Publisher
    subscribers: list[Subscriber] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def join(self, *, slow: bool = False) -> Subscriber:
        """One more, who begins to run when it is let in."""
        name = f"subscriber {len(self.subscribers)}"
        new = Subscriber(name, self.contestant, self.server.peer, slow=slow)
        self.subscribers.append(new)
        return new

    def let_in(self, subscriber: Subscriber) -> None:
        self.tasks.append(asyncio.create_task(subscriber.run()))

    async def seated(self, subscribers: Iterable[Subscriber]) -> None:
        """Wait until each has heard something that is published now."""
        await _all(each.until(_newer_than(len(self.publisher.published))) for each in subscribers)

    async def together(self) -> None:
        """The same for everyone, but for who is deaf."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RECOVERY):
                await self.seated(self.subscribers)


def _newer_than(mark: int) -> Callable[[Seat], bool]:
    return lambda seat: any(number >= mark for number in seat.heard)


async def _all(waits: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*waits)


type Play = Callable[[Match], Awaitable[None]]


async def hold(contestant: Contestant, play: Play, folder: Path) -> Verdict:
    """Raises `Broken` where it cannot be run."""
    await in_thread(partial(contestant.prepare, folder / "server"))
    with place(folder / "redis") as where:
        store = Store(where.redis.port, where.redis.pid)
        server = Server(contestant, folder / "server", store)
        try:
            await in_thread(server.start)
            async with _gathered(contestant, where, server) as match:
                everyone = match.seated(match.subscribers)
                await _within(START, "not everyone heard something", everyone)
                await _within(PLAY, "it took too long", play(match))
                recovered = await _settle(match)
        finally:
            server.kill()
    return _judged(match, recovered=recovered)


@asynccontextmanager
async def _gathered(contestant: Contestant, where: Place, server: Server) -> AsyncIterator[Match]:
    match = Match(contestant, where, server, Publisher(server.peer))
    for _ in range(SUBSCRIBERS):
        match.let_in(match.join())
    match.tasks.append(asyncio.create_task(match.publisher.run()))
    try:
        yield match
    finally:
        for task in match.tasks:
            task.cancel()
        ends = await asyncio.gather(*match.tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _within(seconds: float, reason: str, wait: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        raise Broken(reason) from None


async def _settle(match: Match) -> bool:
    """Wait until everyone has all there is, or has had the time for it; is publishing back?"""
    publisher = match.publisher
    mark = len(publisher.published)
    with suppress(TimeoutError):
        async with asyncio.timeout(RECOVERY):
            await publisher.more(AFTERWARDS)
            await _all(each.until(_newer_than(mark)) for each in match.subscribers)
    await publisher.stop()
    recovered = "acknowledged" in publisher.outcomes[mark:]
    for each in match.subscribers:
        each.seat.deaf = recovered and not _newer_than(mark)(each.seat)
    hearing = [each for each in match.subscribers if not each.seat.deaf]
    last = max(publisher.acknowledged, default=0)
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST):
            await _all(each.until(_newer_than(last)) for each in hearing)
    # What is out of order may come later than the last.
    with suppress(TimeoutError):
        async with asyncio.timeout(LATE):
            await _all(each.until(_lacks_nothing(publisher)) for each in hearing)
    return recovered


def _lacks_nothing(publisher: Publisher) -> Callable[[Seat], bool]:
    return lambda seat: not missing(seat, publisher.acknowledged)


def _judged(match: Match, *, recovered: bool) -> Verdict:
    published = match.publisher.published
    return judge(
        [each.seat for each in match.subscribers],
        [each.outcome for each in published],
        recovered=recovered,
        violations=[
            wrong
            for each in match.subscribers
            if each.strict is not None
            for wrong in violations(published, each.strict)
        ],
    )
