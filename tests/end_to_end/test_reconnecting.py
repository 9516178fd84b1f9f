"""Many events to many subscribers that keep losing their connection: all of it, once, in order."""

import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import pytest

from notifications.log.cursors import Cursor
from notifications.sse import ServerSentEvent
from tests.end_to_end.conftest import Pair
from tests.harness.changes import Changes
from tests.harness.event_source import EventSource, events_path, subscribe
from tests.harness.servers import WebServer

EVENTS, TOPICS, SUBSCRIBERS, PUBLISHERS = 10_000, 50, 200, 8
DEADLINE_SECONDS = 60.0
END = "end"

pytestmark = [pytest.mark.usefixtures("loop_without_debug"), pytest.mark.timeout(400)]


class Progress:
    """How many events have been acknowledged so far."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._changes = Changes()
        self.acknowledged = 0

    def add(self, number: int) -> None:
        self.acknowledged += number
        self._changes.notify()

    async def until(self, number: int) -> None:
        """Wait for so many events, or for all there will be."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._changes.until(lambda: self.acknowledged >= min(number, self._total))


class CutSubscriber(EventSource):
    """Is cut after a random number of bytes, and comes back, until it has received `END`."""

    def __init__(self, servers: Sequence[WebServer], topics: Sequence[str], random: Random) -> None:
        super().__init__(
            events_path(*topics, since="all"),
            (random.choice(servers).port for _ in count()),
            self._take,
            cut_after=(_bytes_until_cut(random) for _ in count()),
        )
        self.topics = topics
        self.received: list[ServerSentEvent] = []
        self._servers = servers
        self._random = random

    async def begin(self) -> None:
        """Get a position to go on from, before anything is published."""
        port = self._random.choice(self._servers).port
        async with subscribe(port, *self.topics, since="all") as stream:
            self.last_event_id = (await stream.next()).id

    async def receive_all(self, progress: Progress) -> None:
        while not self._has_all:
            assert await self.connect(), "The server refused or ended the stream."
            if self._random.random() < 0.3:
                await progress.until(progress.acknowledged + self._random.randrange(1_000))

    @property
    def _has_all(self) -> bool:
        return bool(self.received) and self.received[-1].type == END

    def _take(self, event: ServerSentEvent) -> None:
        if event.type != "stream.cursor":
            self.received.append(event)
        if event.type == END:
            self.cut()


def _bytes_until_cut(random: Random) -> int:
    soon, later, late = (
        random.randrange(1, 400),
        int(random.expovariate(1 / 8_000)) + 1,
        random.randrange(20_000, 100_000),
    )
    return random.choice((soon, later, later, late))


@dataclass(frozen=True)
class Published:
    cursor: Cursor
    topics: frozenset[str]
    data: str


async def publish_all(
    server: WebServer, batches: Iterable[list[dict[str, Any]]], progress: Progress
) -> list[Published]:
    """Publish one batch after the other at this server; the events that were acknowledged."""
    published = []
    for batch in batches:
        body = batch if len(batch) > 1 else batch[0]
        status, content = await asyncio.to_thread(server.publish, body)
        assert status == 201, content
        for event, reply in zip(batch, content.get("events", [content]), strict=True):
            topics = frozenset(reply["topics"])
            published.append(Published(Cursor.parse(reply["cursor"]), topics, encoded(event)))
        progress.add(len(batch))
    return published


def encoded(event: dict[str, Any]) -> str:
    """The data as the stream has it."""
    data = event["data"]
    return data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))


@pytest.fixture
def random() -> Random:
    seed = int(os.environ.get("SEED", "0")) or Random().randrange(1, 1 << 32)
    print(f"SEED={seed}")  # noqa: T201
    return Random(seed)


async def test_each_subscriber_gets_exactly_its_events_once_in_the_order_of_the_log(
    pair: Pair, topic: str, random: Random
) -> None:
    topics = [f"{topic}.{number}" for number in range(TOPICS)]
    end = f"{topic}.{END}"
    subscribers = [
        CutSubscriber(pair.both, [*_some(topics, random), end], Random(random.random()))
        for _ in range(SUBSCRIBERS)
    ]
    progress = Progress(EVENTS)

    # One half has a position from before the first event; the other half begins with a replay.
    async with asyncio.TaskGroup() as joining:
        for subscriber in subscribers[::2]:
            joining.create_task(subscriber.begin())
    batches = iter(list(_batches(topics, random)))
    async with asyncio.TaskGroup() as tasks:
        for number, subscriber in enumerate(subscribers):
            tasks.create_task(_receive(subscriber, progress, after=number % 2 * number * 10))
        publishers = [
            tasks.create_task(publish_all(random.choice(pair.both), batches, progress))
            for _ in range(PUBLISHERS)
        ]
        await asyncio.wait(publishers)
        last = [{"topic": end, "type": END, "data": END}]
        published = await publish_all(pair.one, [last], progress)

    published += [each for publisher in publishers for each in publisher.result()]
    published.sort(key=lambda each: each.cursor.position)
    assert len(published) == EVENTS + 1
    for subscriber in subscribers:
        own = set(subscriber.topics)
        expected = [(str(each.cursor), each.data) for each in published if own & each.topics]
        assert [(event.id, event.data) for event in subscriber.received] == expected
    _print_figures(subscribers)


def _some(topics: list[str], random: Random) -> list[str]:
    return random.sample(topics, random.randint(1, 5))


async def _receive(subscriber: CutSubscriber, progress: Progress, *, after: int) -> None:
    await progress.until(after)
    await subscriber.receive_all(progress)


def _batches(topics: list[str], random: Random) -> Iterator[list[dict[str, Any]]]:
    made = 0
    while made < EVENTS:
        size = random.choice((1, 1, random.randint(2, 30), random.randint(2, 100)))
        size = min(size, EVENTS - made)
        yield [_event(made + index, topics, random) for index in range(size)]
        made += size


def _event(number: int, topics: list[str], random: Random) -> dict[str, Any]:
    several = random.sample(topics, 3) if random.random() < 0.1 else random.choice(topics)
    text = f"{number}\n{'é' * random.randrange(60)}\nthe end of {number}"
    data: object = {"number": number, "text": "x" * random.randrange(200)}
    return {"topic": several, "data": text if random.random() < 0.7 else data}


def _print_figures(subscribers: list[CutSubscriber]) -> None:
    deliveries = sum(len(each.received) for each in subscribers)
    connections = sum(each.connections for each in subscribers)
    cut = sum(each.ends_inside_block for each in subscribers)
    print(f"{deliveries=} {connections=} cut in the middle of a block: {cut}")  # noqa: T201
