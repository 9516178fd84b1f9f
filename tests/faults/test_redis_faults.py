"""Under each fault of Redis streams stay, publishing reports the truth, and nothing is lost.

Two processes behind an HAProxy that checks their health, on a Redis behind a relay, under load.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.site import KEEPALIVE_SECONDS
from tests.harness.event_source import subscribe
from tests.harness.haproxy import CHECK_SECONDS, Balancer, balancer
from tests.harness.load import Load, Subscriber, running_load
from tests.harness.publisher import HttpSender, Publisher
from tests.harness.redis_faults import (
    DISTURBANCES,
    LOSSES,
    OUTAGES,
    Fault,
    FaultyRedis,
    faulty_redis,
)
from tests.harness.servers import WebServer, daphne, uvicorn, wait_until_ready

NOTICED_SECONDS = 30.0
"""On a busy machine: it takes the publish timeout, which is two seconds, and two checks."""

pytestmark = pytest.mark.usefixtures("loop_without_debug")


@dataclass
class Balanced:
    faulty_redis: FaultyRedis
    webs: list[WebServer]
    balancer: Balancer


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    folder: Path = tmp_path_factory.mktemp("balanced")
    with ExitStack() as stack:
        where = stack.enter_context(faulty_redis(folder / "redis"))
        webs = [
            stack.enter_context(
                serve(
                    where.network.url,
                    folder / serve.__name__,
                    CARILLON_KEEPALIVE=str(KEEPALIVE_SECONDS),
                )
            )
            for serve in (daphne, uvicorn)
        ]
        for web in webs:
            wait_until_ready(web.port)
        proxy = stack.enter_context(balancer(folder, [web.port for web in webs]))
        yield Balanced(where, webs, proxy)


@asynccontextmanager
async def busy(balanced: Balanced, topic: str) -> AsyncIterator[Load]:
    """Subscribers of each process and of the balancer, publishers with keys and without."""
    ports = [web.port for web in balanced.webs]
    subscribers = [
        *(Subscriber(f"at {port}", [port], [topic]) for port in ports),
        Subscriber("balanced", [balanced.balancer.port], [topic]),
        Subscriber("idle", [ports[0]], [f"{topic}.idle"]),
    ]
    publishers = [
        Publisher(f"{topic} {port}", topic, HttpSender(port), keys=keys)
        for port, keys in zip(ports, (True, False), strict=True)
    ]
    async with running_load(subscribers, publishers) as load:
        await load.wait_for_acknowledged(5)
        yield load
        await load.wait_for_acknowledged(5)
        await load.wait_until_delivered()
    assert load.violations() == []
    assert load.ends == [0] * len(subscribers)


async def noticed(balanced: Balanced) -> None:
    """Wait until the balancer sends no publications to the servers; it always sends streams."""
    async with asyncio.timeout(NOTICED_SECONDS):
        while not await asyncio.to_thread(lambda: balanced.balancer.refuses_publications):
            assert await asyncio.to_thread(lambda: balanced.balancer.serves_streams)
            await asyncio.sleep(CHECK_SECONDS / 2)
    for web in balanced.webs:
        assert (await asyncio.to_thread(web.get, "/health/ready"))[0] == 200


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
async def test_while_redis_takes_no_writes_streams_stay_and_open_and_nothing_is_lost(
    balanced: Balanced, topic: str, fault: Fault
) -> None:
    async with busy(balanced, topic) as load:
        with fault(balanced.faulty_redis):
            await noticed(balanced)
            async with subscribe(balanced.balancer.port, topic) as late:
                assert (late.status, (await late.next()).type) == (200, "stream.cursor")
            event = {"topic": f"{topic}.unread", "data": "refused"}
            answers = (asyncio.to_thread(web.publish, event) for web in balanced.webs)
            for status, problem in await asyncio.gather(*answers):
                assert (status, problem["outcome"] in ("not_sent", "unknown")) == (503, True)
    assert load.resets == [[]] * 4


@pytest.mark.parametrize("disturb", DISTURBANCES.values(), ids=DISTURBANCES)
async def test_a_disturbance_is_noticed_by_no_client(
    balanced: Balanced, topic: str, disturb: Callable[[FaultyRedis], None]
) -> None:
    async with busy(balanced, topic) as load:
        await asyncio.to_thread(disturb, balanced.faulty_redis)
    assert load.resets == [[]] * 4
    assert [each.outcome for each in load.published if each.cursor is None] == []


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
async def test_a_loss_is_one_reset_for_everyone(
    balanced: Balanced, topic: str, lose: Callable[[FaultyRedis], None]
) -> None:
    async with busy(balanced, topic) as load:
        await asyncio.to_thread(lose, balanced.faulty_redis)
    assert load.resets == [["log_lost"]] * 4
