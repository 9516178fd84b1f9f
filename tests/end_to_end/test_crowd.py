"""Many events to many subscribers that keep losing their connection: all of it, once, in order."""

import asyncio
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.end_to_end.conftest import Pair
from tests.end_to_end.crowd import END, Progress, Publisher, Restless

EVENTS, TOPICS, SUBSCRIBERS, PUBLISHERS = 10_000, 50, 200, 8

pytestmark = pytest.mark.usefixtures("swift_loop")


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
    crowd = [_restless(pair, [*_some(topics, random), end], random) for _ in range(SUBSCRIBERS)]
    publishers = [Publisher(random.choice(pair.both)) for _ in range(PUBLISHERS)]
    progress = Progress(EVENTS)

    # Half of them hear the rest live, from where they are; half begin with what there is by then.
    async with asyncio.TaskGroup() as joining:
        for subscriber in crowd[::2]:
            joining.create_task(subscriber.begin())
    batches = iter(list(_batches(topics, random)))
    async with asyncio.TaskGroup() as tasks:
        for number, subscriber in enumerate(crowd):
            tasks.create_task(_listen(subscriber, progress, after=number % 2 * number * 10))
        async with asyncio.TaskGroup() as publishing:
            for publisher in publishers:
                publishing.create_task(publisher.publish_all(batches, progress))
        last = Publisher(pair.one)
        goodbye = [{"topic": end, "type": END, "data": END}]
        await last.publish_all([goodbye], progress)

    published = [each for publisher in [*publishers, last] for each in publisher.published]
    published.sort(key=lambda each: each.cursor.position)
    assert len(published) == EVENTS + 1
    for subscriber in crowd:
        asked = set(subscriber.topics)
        expected = [(str(each.cursor), each.data) for each in published if asked & each.topics]
        assert [(event.id, event.data) for event in subscriber.received] == expected
    _tell(crowd)


def _restless(pair: Pair, topics: list[str], random: Random) -> Restless:
    return Restless(pair.both, topics, Random(random.random()))


def _some(topics: list[str], random: Random) -> list[str]:
    return random.sample(topics, random.randint(1, 5))


async def _listen(subscriber: Restless, progress: Progress, *, after: int) -> None:
    await progress.until(after)
    await subscriber.listen(progress)


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


def _tell(crowd: list[Restless]) -> None:
    deliveries = sum(len(each.received) for each in crowd)
    connections = sum(each.connections for each in crowd)
    cut = sum(each.cut_in_a_block for each in crowd)
    print(f"{deliveries=} {connections=} cut in the middle of a block: {cut}")  # noqa: T201
