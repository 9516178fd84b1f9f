"""`kill -9` and rolling restarts under load, with two workers: no event is lost or repeated."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.harness.load import Load, Subscriber, running_load
from tests.harness.publisher import HttpSender, Publisher
from tests.harness.redis_faults import killed
from tests.harness.service import Service, kill_worker, restart, running_service

SUBSCRIBERS = 6
EVENTS = 5

pytestmark = pytest.mark.usefixtures("loop_without_debug")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), "uvicorn") as service:
        yield service


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    return random.Random(seed)


@asynccontextmanager
async def busy(service: Service, topic: str) -> AsyncIterator[Load]:
    subscribers = [
        Subscriber(f"{number}", [service.port], [topic]) for number in range(SUBSCRIBERS)
    ]
    publishers = [
        Publisher(f"{topic} {keys}", topic, HttpSender(service.port), keys=keys)
        for keys in (True, False)
    ]
    async with running_load(subscribers, publishers) as load:
        await load.wait_for_acknowledged(EVENTS)
        yield load
        await load.wait_for_acknowledged(EVENTS)
        async with load.quiet():
            assert load.violations() == []
            assert load.resets == [[]] * SUBSCRIBERS


async def test_a_worker_that_is_killed_under_load_loses_and_repeats_nothing(
    service: Service, topic: str, chance: random.Random
) -> None:
    async with busy(service, topic):
        for _ in range(2):
            await asyncio.to_thread(kill_worker, service, chance)
            await asyncio.to_thread(service.wait, lambda: len(service.workers()) == 2)


async def test_a_redis_that_is_killed_under_load_loses_and_repeats_nothing(
    service: Service, topic: str
) -> None:
    async with busy(service, topic) as load:
        for _ in range(3):
            with killed(service.faulty_redis):
                pass
            await load.wait_for_acknowledged(EVENTS)
        assert load.ends == [0] * SUBSCRIBERS


async def test_a_rolling_restart_under_load_loses_and_repeats_nothing(
    service: Service, topic: str
) -> None:
    async with busy(service, topic) as load:
        await asyncio.to_thread(restart, service)
    assert [each.outcome for each in load.published if each.cursor is None] == []
