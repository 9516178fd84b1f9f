"""One run of the scorecard: a scenario with a contestant, from its start to the verdict."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.peers import Store
from benchmarks.processes import Broken
from benchmarks.scorecard.clients import NumberedPublisher, Subscriber
from benchmarks.scorecard.contestants import Contestant, Server
from benchmarks.scorecard.judge import Transcript, Verdict, judge, missing
from tests.harness.checker import violations
from tests.harness.redis_faults import FaultyRedis, faulty_redis

SUBSCRIBERS = 6
START_SECONDS = 60.0
STEPS_SECONDS = 150.0
EVENTS_AFTERWARDS = 20
RECOVERY_SECONDS = 20.0
"""A subscriber that has received nothing new after this time is stuck."""
LAST_EVENT_SECONDS = 15.0
LATE_EVENT_SECONDS = 3.0


async def in_thread(blocking: Callable[[], None]) -> None:
    """Run it to its end even when cancelled: it may have started something."""
    task = asyncio.create_task(asyncio.to_thread(blocking))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@dataclass
class Run:
    """The server, its Redis and its clients. A scenario's fault is over when it returns."""

    contestant: Contestant
    faulty_redis: FaultyRedis
    server: Server
    publisher: NumberedPublisher
    subscribers: list[Subscriber] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def add_subscriber(self, *, slow: bool = False) -> Subscriber:
        """One more, which connects when it is started."""
        name = f"subscriber {len(self.subscribers)}"
        subscriber = Subscriber(name, self.contestant, self.server.peer, slow=slow)
        self.subscribers.append(subscriber)
        return subscriber

    def start(self, subscriber: Subscriber) -> None:
        self.tasks.append(asyncio.create_task(subscriber.run()))

    async def wait_for_new_event(self, subscribers: Iterable[Subscriber]) -> None:
        """Wait until each of them has received an event that is published from now on."""
        received = _has_event_from(self.publisher.attempted)
        await _all(each.until(received) for each in subscribers)

    async def wait_until_all_receive(self) -> None:
        """The same for every subscriber, except those that are stuck."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RECOVERY_SECONDS):
                await self.wait_for_new_event(self.subscribers)


def _has_event_from(number: int) -> Callable[[Transcript], bool]:
    return lambda transcript: any(each >= number for each in transcript.numbers)


async def _all(waits: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*waits)


type Steps = Callable[[Run], Awaitable[None]]


async def run_scenario(contestant: Contestant, steps: Steps, folder: Path) -> Verdict:
    """Raises `Broken` where it cannot be run."""
    await in_thread(partial(contestant.prepare, folder / "server"))
    with faulty_redis(folder / "redis") as redis:
        store = Store(redis.redis.port, redis.redis.pid)
        server = Server(contestant, folder / "server", store)
        try:
            await in_thread(server.start)
            async with _running(contestant, redis, server) as run:
                received = run.wait_for_new_event(run.subscribers)
                await _within(START_SECONDS, "a subscriber received nothing", received)
                await _within(STEPS_SECONDS, "it took too long", steps(run))
                recovered = await _settle(run)
        finally:
            server.kill()
    return _verdict(run, recovered=recovered)


@asynccontextmanager
async def _running(
    contestant: Contestant, redis: FaultyRedis, server: Server
) -> AsyncIterator[Run]:
    run = Run(contestant, redis, server, NumberedPublisher(server.peer))
    for _ in range(SUBSCRIBERS):
        run.start(run.add_subscriber())
    run.tasks.append(asyncio.create_task(run.publisher.run()))
    try:
        yield run
    finally:
        for task in run.tasks:
            task.cancel()
        results = await asyncio.gather(*run.tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _within(seconds: float, reason: str, wait: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        raise Broken(reason) from None


async def _settle(run: Run) -> bool:
    """Wait until the subscribers have all events, or have had the time; does publishing work?"""
    publisher = run.publisher
    mark = publisher.attempted
    with suppress(TimeoutError):
        async with asyncio.timeout(RECOVERY_SECONDS):
            await publisher.wait_for_acknowledged(EVENTS_AFTERWARDS)
            await _all(each.until(_has_event_from(mark)) for each in run.subscribers)
    await publisher.finish()
    recovered = "acknowledged" in publisher.outcomes[mark:]
    for each in run.subscribers:
        each.transcript.stuck = recovered and not _has_event_from(mark)(each.transcript)
    receiving = [each for each in run.subscribers if not each.transcript.stuck]
    last = max(publisher.acknowledged, default=0)
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_EVENT_SECONDS):
            await _all(each.until(_has_event_from(last)) for each in receiving)
    # Events that are out of order may come after the last one.
    with suppress(TimeoutError):
        async with asyncio.timeout(LATE_EVENT_SECONDS):
            await _all(each.until(_misses_nothing(publisher)) for each in receiving)
    return recovered


def _misses_nothing(publisher: NumberedPublisher) -> Callable[[Transcript], bool]:
    return lambda transcript: not missing(transcript, publisher.acknowledged)


def _verdict(run: Run, *, recovered: bool) -> Verdict:
    published = run.publisher.published
    return judge(
        [each.transcript for each in run.subscribers],
        run.publisher.outcomes,
        recovered=recovered,
        violations=[
            violation
            for each in run.subscribers
            if each.observation is not None
            for violation in violations(published, each.observation)
        ],
    )
