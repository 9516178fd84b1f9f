"""Another Redis takes over, by Sentinel or in a cluster: streams stay, and nobody is deceived."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from notifications.log.base import Retention
from notifications.log.redis_sync import RedisAppender
from tests.faults.site import KEEPALIVE, KEYS, hears_next, publish, reason_of
from tests.faults.test_redis_faults import SWIFT
from tests.harness.crowd import Code, Crowd, Http, Listener, Talker, crowd
from tests.harness.event_source import subscribe
from tests.harness.failover import SLOT, Cluster, ask, cluster, pair, restart, wait
from tests.harness.servers import WebServer, daphne, uvicorn, wait_until_ready

pytestmark = [pytest.mark.usefixtures("swift_loop"), pytest.mark.timeout(240)]

RETENTION = Retention(events=10_000, bytes=10**7, age=3600)


@contextmanager
def webs(url: str, folder: Path) -> Iterator[tuple[WebServer, WebServer]]:
    with ExitStack() as stack:
        one, other = [
            stack.enter_context(
                serve(
                    url,
                    folder / serve.__name__,
                    DJANGO_SETTINGS_MODULE=SWIFT,
                    CARILLON_KEEPALIVE=str(KEEPALIVE),
                )
            )
            for serve in (daphne, uvicorn)
        ]
        for web in (one, other):
            wait_until_ready(web.port)
        yield one, other


@asynccontextmanager
async def busy(url: str, served: tuple[WebServer, WebServer], topic: str) -> AsyncIterator[Crowd]:
    """Subscribers of each process, publishers with keys and without, and one in plain code."""
    one, other = served
    listeners = [
        *(Listener(f"at {web.port}", [web.port], [topic]) for web in served),
        Listener("idle", [one.port], [f"{topic}.idle"]),
    ]
    appender = RedisAppender(url, prefix="carillon", retention=RETENTION, timeout=1)
    talkers = [
        Talker(f"{topic} with keys", topic, Http(one.port), keys=True),
        Talker(f"{topic} without", topic, Http(other.port), keys=False),
        Talker(f"{topic} in code", topic, Code(appender), keys=True),
    ]
    async with crowd(listeners, talkers) as people:
        await people.more(5)
        yield people
        await people.more(5)
        await people.together()
    appender.close()
    assert people.violations() == []
    assert [listener.ends for listener in listeners] == [0] * len(listeners)


async def test_a_master_that_is_killed_is_followed_by_what_sentinel_promotes(
    topic: str, tmp_path: Path
) -> None:
    with pair(tmp_path, "valkey") as redis, webs(redis.url, tmp_path) as served:
        async with busy(redis.url, served, topic) as people:
            await asyncio.to_thread(redis.master.kill)
            await people.more(5)
        assert ask(redis.replica, "ROLE")[0] == b"master"


async def test_a_master_that_hangs_is_left_and_is_not_gone_back_to(
    topic: str, tmp_path: Path
) -> None:
    with pair(tmp_path, "redis") as redis, webs(redis.url, tmp_path) as served:
        async with busy(redis.url, served, topic) as people:
            redis.master.pause()
            await people.more(5)
            # It takes what was sent to it meanwhile, which must not be taken for the log.
            redis.master.resume()
            await people.more(5)
        assert ask(redis.replica, "ROLE")[0] == b"master"


async def test_a_failover_that_lost_what_was_acknowledged_is_a_reset_for_everyone(
    topic: str, tmp_path: Path
) -> None:
    with pair(tmp_path, "redis") as redis, webs(redis.url, tmp_path) as (one, other):
        async with subscribe(one.port, topic) as here, subscribe(other.port, topic) as there:
            for stream in (here, there):
                await stream.next()
            kept = await publish(one, topic, "kept")
            await asyncio.to_thread(wait, lambda: ask(redis.master, "WAIT", 1, 1000))
            redis.replica.pause()
            ask(redis.master, "CLIENT", "KILL", "TYPE", "replica")
            lost = await publish(one, topic, "lost")
            for stream in (here, there):
                assert [(await stream.next_event()).id for _ in range(2)] == [*kept, *lost]
            redis.master.kill()
            redis.replica.resume()
            for stream in (here, there):
                assert reason_of(await stream.next_event()) == "log_lost"
            await hears_next(here, other, topic)


@pytest.fixture(scope="module")
def clustered(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, tuple[WebServer, WebServer]]]:
    """The node that fails is a replica afterwards, and the slot goes back to where it was."""
    folder = tmp_path_factory.mktemp("clustered")
    with cluster(folder, "valkey") as nodes, webs(nodes.url, folder) as served:
        yield nodes, served


async def test_a_log_whose_slot_moves_is_followed_to_its_new_node(
    clustered: tuple[Cluster, tuple[WebServer, WebServer]], topic: str
) -> None:
    nodes, served = clustered
    async with busy(nodes.url, served, topic) as people:
        home = nodes.owner()
        for to in (nodes.nodes[1], home):
            await asyncio.to_thread(nodes.move, to)
            await people.more(5)
    assert [listener.heard.resets for listener in people.listeners] == [[]] * 3


async def test_while_a_slot_is_on_its_way_publishing_is_refused_and_it_goes_on_afterwards(
    clustered: tuple[Cluster, tuple[WebServer, WebServer]], topic: str
) -> None:
    nodes, served = clustered
    async with busy(nodes.url, served, topic) as people:
        home = nodes.owner()
        move = await asyncio.to_thread(nodes.begin_move, nodes.nodes[1])
        # Half of it is here and half there; and then all is there, and nobody has been told.
        for keys in ([KEYS.meta], [KEYS.stream]):
            await asyncio.to_thread(move.carry, *keys)
            assert await refused_again(people) <= {"not_sent", "unknown"}
        assert "not_sent" in await refused_again(people)
        assert (await asyncio.to_thread(served[0].get, "/health/publish"))[0] == 503
        assert (await asyncio.to_thread(served[0].get, "/health/ready"))[0] == 200
        while left := ask(move.source, "CLUSTER", "GETKEYSINSLOT", SLOT, 100):
            await asyncio.to_thread(move.carry, *left)
        await asyncio.to_thread(move.finish)
        await people.more(5)
        await asyncio.to_thread(nodes.move, home)
    assert [listener.heard.resets for listener in people.listeners] == [[]] * 3


async def refused_again(people: Crowd) -> set[str]:
    """What each publisher is told next, for as long as nothing can be published."""
    told = [talker._way.refusals for talker in people.talkers]
    before = [len(each) for each in told]

    def all_again() -> bool:
        return all(len(each) > so_far for each, so_far in zip(told, before, strict=True))

    await asyncio.to_thread(wait, all_again)
    return {said for each, so_far in zip(told, before, strict=True) for said in each[so_far:]}


async def test_a_node_that_is_killed_is_followed_by_its_replica(
    clustered: tuple[Cluster, tuple[WebServer, WebServer]], topic: str
) -> None:
    nodes, served = clustered
    owner = nodes.owner()
    async with busy(nodes.url, served, topic) as people:
        await asyncio.to_thread(owner.kill)
        await people.more(5)
        await asyncio.to_thread(restart, owner)
        await people.more(5)
    assert nodes.owner() is not owner
