"""Load for a fault test: subscribers that come back, publishers, and one checker for all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle

from notifications.log.cursors import Cursor
from notifications.sse import ServerSentEvent
from tests.harness.changes import Changes
from tests.harness.checker import Observation, Publication, last_position, violations
from tests.harness.event_source import EventSource, events_path
from tests.harness.publisher import Publisher

RETRY_SECONDS = 0.02
DEADLINE_SECONDS = 60.0


class Subscriber(EventSource):
    """An EventSource at one server after the other, whose events the checker looks at."""

    def __init__(self, name: str, ports: Sequence[int], topics: Sequence[str]) -> None:
        self.observation = Observation(name, frozenset(topics))
        self._changes = Changes()
        super().__init__(
            events_path(*sorted(self.observation.topics)),
            cycle(ports),
            self._observe,
            retry_seconds=RETRY_SECONDS,
        )

    def _observe(self, event: ServerSentEvent) -> None:
        self.observation.receive(event)
        self._changes.notify()

    async def reaches(self, last: Cursor) -> None:
        """Wait until the subscriber's position is this one, or a later one of the same epoch."""

        def is_there() -> bool:
            cursor = self.observation.cursor
            return (
                cursor is not None
                and cursor.epoch == last.epoch
                and cursor.position >= last.position
            )

        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._changes.until(is_there)


@dataclass
class Load:
    subscribers: Sequence[Subscriber]
    publishers: Sequence[Publisher]

    @property
    def published(self) -> list[Publication]:
        return [each for publisher in self.publishers for each in publisher.published]

    @property
    def resets(self) -> list[list[str]]:
        """The reasons of the resets that each subscriber received."""
        return [each.observation.resets for each in self.subscribers]

    @property
    def ends(self) -> list[int]:
        """How often each subscriber's stream ended."""
        return [each.ends for each in self.subscribers]

    async def wait_for_acknowledged(self, number: int) -> None:
        """Wait until so many more events of each publisher have been acknowledged."""
        await asyncio.gather(*(each.wait_for_acknowledged(number) for each in self.publishers))

    async def wait_until_delivered(self) -> None:
        """Wait until every subscriber has reached the position of what is published now."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                await self.wait_for_acknowledged(1)
                # The epoch of this position may be lost meanwhile: then a newer one is awaited.
                with suppress(TimeoutError):
                    async with asyncio.timeout(DEADLINE_SECONDS / 4):
                        await self._wait_for(last_position(self.published))
                        return

    async def _wait_for(self, last: Cursor) -> None:
        await asyncio.gather(*(each.reaches(last) for each in self.subscribers))

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Inside, nothing is published, and every subscriber has received all there is."""
        await self.wait_until_delivered()
        async with AsyncExitStack() as stack:
            for publisher in self.publishers:
                await stack.enter_async_context(publisher.sending)
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._wait_for(last_position(self.published))
            yield

    def forget(self) -> None:
        """Drop what was checked, but not the events that may still arrive."""
        for publisher in self.publishers:
            publisher.published[:] = [each for each in publisher.published if each.cursor is None]
        for subscriber in self.subscribers:
            subscriber.observation.forget()

    def violations(self) -> list[str]:
        published = self.published
        return [
            violation
            for subscriber in self.subscribers
            for violation in violations(published, subscriber.observation)
        ]


@asynccontextmanager
async def running_load(
    subscribers: Sequence[Subscriber], publishers: Sequence[Publisher]
) -> AsyncIterator[Load]:
    """All of them run, and each subscriber has a position in the log."""
    load = Load(subscribers, publishers)
    async with asyncio.TaskGroup() as tasks:
        subscribing = [tasks.create_task(each.run()) for each in subscribers]
        publishing = [tasks.create_task(each.run()) for each in publishers]
        await load.wait_until_delivered()
        try:
            yield load
        finally:
            for publisher in publishers:
                publisher.stop()
            if publishing:
                await asyncio.wait(publishing, timeout=DEADLINE_SECONDS)
            for task in subscribing:
                task.cancel()
