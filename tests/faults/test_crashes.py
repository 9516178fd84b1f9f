"""`kill -9` and rolling restarts under load, with two workers: the checker finds nothing."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.harness.crowd import Crowd, Http, Listener, Talker, crowd
from tests.harness.redis_faults import killed
from tests.harness.service import Service, kill_worker, restart, service

SUBSCRIBERS = 6
LEAST = 5

pytestmark = pytest.mark.usefixtures("swift_loop")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("served"), "uvicorn") as served:
        yield served


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    return random.Random(seed)


@asynccontextmanager
async def busy(served: Service, topic: str) -> AsyncIterator[Crowd]:
    listeners = [Listener(f"{number}", [served.port], [topic]) for number in range(SUBSCRIBERS)]
    talkers = [
        Talker(f"{topic} {keys}", topic, Http(served.port), keys=keys) for keys in (True, False)
    ]
    async with crowd(listeners, talkers) as people:
        await people.more(LEAST)
        yield people
        await people.more(LEAST)
        async with people.silence():
            assert people.violations() == []
            assert [listener.heard.resets for listener in listeners] == [[]] * SUBSCRIBERS


async def test_a_worker_that_is_killed_under_load_loses_and_repeats_nothing(
    served: Service, topic: str, chance: random.Random
) -> None:
    async with busy(served, topic):
        for _ in range(2):
            await asyncio.to_thread(kill_worker, served, chance)
            await asyncio.to_thread(served.wait, lambda: len(served.workers()) == 2)


async def test_a_redis_that_is_killed_under_load_loses_and_repeats_nothing(
    served: Service, topic: str
) -> None:
    async with busy(served, topic) as people:
        for _ in range(3):
            with killed(served.place):
                pass
            await people.more(LEAST)
        assert [listener.ends for listener in people.listeners] == [0] * SUBSCRIBERS


async def test_a_rolling_restart_under_load_loses_and_repeats_nothing(
    served: Service, topic: str, chance: random.Random
) -> None:
    async with busy(served, topic) as people:
        await asyncio.to_thread(restart, served, chance)
    assert [each.outcome for each in people.published if each.cursor is None] == []
