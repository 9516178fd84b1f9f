"""Another Redis takes over, by Sentinel or in a cluster: streams stay, and a loss is a reset."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from notifications.log.entries import Retention
from notifications.log.redis_sync import RedisSyncLog
from tests.faults.site import KEEPALIVE_SECONDS, KEYS, publish, reason_of, receives_next
from tests.harness.event_source import subscribe
from tests.harness.failover import SLOT, Cluster, cluster, execute, pair, restart, wait_until
from tests.harness.load import Load, Subscriber, running_load
from tests.harness.publisher import HttpSender, LogSender, Publisher
from tests.harness.servers import WebServer, daphne, uvicorn, wait_until_ready

pytestmark = [pytest.mark.usefixtures("loop_without_debug"), pytest.mark.timeout(240)]

RETENTION = Retention(events=10_000, bytes=10**7, age=3600)


@contextmanager
def webs(url: str, folder: Path) -> Iterator[tuple[WebServer, WebServer]]:
    with ExitStack() as stack:
        one, other = [
            stack.enter_context(
                serve(
                    url,
                    folder / serve.__name__,
                    CARILLON_KEEPALIVE=str(KEEPALIVE_SECONDS),
                )
            )
            for serve in (daphne, uvicorn)
        ]
        for web in (one, other):
            wait_until_ready(web.port)
        yield one, other


@asynccontextmanager
async def busy(url: str, served: tuple[WebServer, WebServer], topic: str) -> AsyncIterator[Load]:
    """Subscribers of each process, and publishers with keys, without keys and by the log itself."""
    one, other = served
    subscribers = [
        *(Subscriber(f"at {web.port}", [web.port], [topic]) for web in served),
        Subscriber("idle", [one.port], [f"{topic}.idle"]),
    ]
    appender = RedisSyncLog(url, prefix="carillon", retention=RETENTION, timeout=1)
    publishers = [
        Publisher(f"{topic} with keys", topic, HttpSender(one.port), keys=True),
        Publisher(f"{topic} without", topic, HttpSender(other.port), keys=False),
        Publisher(f"{topic} in code", topic, LogSender(appender), keys=True),
    ]
    async with running_load(subscribers, publishers) as load:
        await load.wait_for_acknowledged(5)
        yield load
        await load.wait_for_acknowledged(5)
        await load.wait_until_delivered()
    appender.close()
    assert load.violations() == []
    assert load.ends == [0] * len(subscribers)


async def test_when_a_master_is_killed_the_replica_that_sentinel_promotes_is_used(
    topic: str, tmp_path: Path
) -> None:
    with pair(tmp_path, "valkey") as redis, webs(redis.url, tmp_path) as served:
        async with busy(redis.url, served, topic) as load:
            await asyncio.to_thread(redis.master.kill)
            await load.wait_for_acknowledged(5)
        assert execute(redis.replica, "ROLE")[0] == b"master"


async def test_a_master_that_hangs_is_left_for_good(topic: str, tmp_path: Path) -> None:
    with pair(tmp_path, "redis") as redis, webs(redis.url, tmp_path) as served:
        async with busy(redis.url, served, topic) as load:
            redis.master.pause()
            await load.wait_for_acknowledged(5)
            # It takes the commands sent to it meanwhile, which must not be mistaken for the log.
            redis.master.resume()
            await load.wait_for_acknowledged(5)
        assert execute(redis.replica, "ROLE")[0] == b"master"


async def test_a_failover_that_lost_acknowledged_events_is_a_reset_for_everyone(
    topic: str, tmp_path: Path
) -> None:
    with pair(tmp_path, "redis") as redis, webs(redis.url, tmp_path) as (one, other):
        async with subscribe(one.port, topic) as first, subscribe(other.port, topic) as second:
            for stream in (first, second):
                await stream.next()
            kept = await publish(one, topic, "kept")
            await asyncio.to_thread(wait_until, lambda: execute(redis.master, "WAIT", 1, 1000))
            redis.replica.pause()
            execute(redis.master, "CLIENT", "KILL", "TYPE", "replica")
            lost = await publish(one, topic, "lost")
            for stream in (first, second):
                assert [(await stream.next_event()).id for _ in range(2)] == [*kept, *lost]
            redis.master.kill()
            redis.replica.resume()
            for stream in (first, second):
                assert reason_of(await stream.next_event()) == "log_lost"
            await receives_next(first, other, topic)


@pytest.fixture(scope="module")
def clustered(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, tuple[WebServer, WebServer]]]:
    """Shared: a node that failed is a replica afterwards, and each test moves the slot back."""
    folder = tmp_path_factory.mktemp("clustered")
    with cluster(folder, "valkey") as nodes, webs(nodes.url, folder) as served:
        yield nodes, served


async def test_a_log_is_followed_to_the_node_its_slot_moves_to(
    clustered: tuple[Cluster, tuple[WebServer, WebServer]], topic: str
) -> None:
    nodes, served = clustered
    async with busy(nodes.url, served, topic) as load:
        home = nodes.owner()
        for to in (nodes.nodes[1], home):
            await asyncio.to_thread(nodes.move, to)
            await load.wait_for_acknowledged(5)
    assert load.resets == [[]] * 3


async def test_while_a_slot_is_moving_publishing_is_refused_and_afterwards_it_works(
    clustered: tuple[Cluster, tuple[WebServer, WebServer]], topic: str
) -> None:
    nodes, served = clustered
    async with busy(nodes.url, served, topic) as load:
        home = nodes.owner()
        move = await asyncio.to_thread(nodes.begin_move, nodes.nodes[1])
        # First one key is at each node; then both are at the new one, unknown to the cluster.
        for keys in ([KEYS.meta], [KEYS.stream]):
            await asyncio.to_thread(move.move_keys, *keys)
            assert await refused_again(load) <= {"not_sent", "unknown"}
        assert "not_sent" in await refused_again(load)
        assert (await asyncio.to_thread(served[0].get, "/health/publish"))[0] == 503
        assert (await asyncio.to_thread(served[0].get, "/health/ready"))[0] == 200
        while keys := execute(move.source, "CLUSTER", "GETKEYSINSLOT", SLOT, 100):
            await asyncio.to_thread(move.move_keys, *keys)
        await asyncio.to_thread(move.finish)
        await load.wait_for_acknowledged(5)
        await asyncio.to_thread(nodes.move, home)
    assert load.resets == [[]] * 3


async def refused_again(load: Load) -> set[str]:
    """The outcomes of each publisher's next attempt, while nothing can be published."""
    refusals = [publisher.sender.refusals for publisher in load.publishers]
    counts = [len(each) for each in refusals]

    def all_again() -> bool:
        return all(len(each) > count for each, count in zip(refusals, counts, strict=True))

    await asyncio.to_thread(wait_until, all_again)
    new = [each[count:] for each, count in zip(refusals, counts, strict=True)]
    return {refusal.outcome for each in new for refusal in each}


async def test_when_a_node_is_killed_its_replica_is_used(
    clustered: tuple[Cluster, tuple[WebServer, WebServer]], topic: str
) -> None:
    nodes, served = clustered
    owner = nodes.owner()
    async with busy(nodes.url, served, topic) as load:
        await asyncio.to_thread(owner.kill)
        await load.wait_for_acknowledged(5)
        await asyncio.to_thread(restart, owner)
        await load.wait_for_acknowledged(5)
    assert nodes.owner() is not owner
