"""The connections of a process to a real server that allows few clients."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis, RedisError
from redis.exceptions import ConnectionError as ConnectionFailed

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log import pool
from notifications.log.connections import LoopPool
from notifications.log.entries import Batch, Draft, Retention
from notifications.log.pool import REFUSED_PAUSE_SECONDS
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.relay import relay
from tests.harness.servers import RedisServer, redis_server

DEADLINE_SECONDS = 40.0
MAX_CLIENTS = 20
OPTIONS: dict[str, Any] = {
    "prefix": "test",
    "retention": Retention(events=10_000, bytes=10**7, age=3600),
    "timeout": 15.0,
    "max_connections": 16,
}
OURS = "OURS"


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("small")
    options = ("--maxclients", str(MAX_CLIENTS), "--appendonly", "no")
    with redis_server(folder, kind=request.param, options=options) as server:
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    """The connection of somebody who looks on: one of those that the server allows."""
    with Redis.from_url(server.url, client_name="admin") as admin:
        admin.flushall()
        yield admin


@pytest.fixture
def url(server: RedisServer) -> str:
    return f"{server.url}?client_name={OURS}"


@pytest.fixture
def idle_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)


def drafts() -> list[Draft]:
    return [Draft(Event(topics=("a",), data="x"))]


def ours(admin: Redis) -> list[dict[str, str]]:
    """Our clients."""
    return [client for client in admin.client_list() if client["name"] == OURS]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def fill(server: RedisServer, stack: ExitStack) -> None:
    """Take every client that the server still allows."""
    for _ in range(MAX_CLIENTS):
        client = Redis.from_url(server.url)
        try:
            stack.enter_context(client).ping()
        except RedisError:
            return


async def follow(log: RedisLog, received: list[bytes]) -> None:
    async with aclosing(log.tail(await log.state())) as tail:
        async for batch in tail:
            assert isinstance(batch, Batch), batch
            received += [entry.data for entry in batch.entries]


@pytest.fixture
async def workers(url: str, admin: Redis) -> AsyncIterator[list[RedisLog]]:
    """Two processes, each of which follows the log."""
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(RedisLog(url, **OPTIONS)) for _ in range(2)]
        tails = [asyncio.create_task(follow(log, [])) for log in logs]
        await until(lambda: sum("xread" in client["cmd"] for client in ours(admin)) == 2)
        yield logs
        for tail in tails:
            tail.cancel()
        await asyncio.wait(tails)
        for tail in tails:
            assert tail.cancelled()


@pytest.mark.usefixtures("idle_soon")
async def test_a_burst_at_a_small_plan_is_answered_and_its_connections_are_closed(
    workers: list[RedisLog], admin: Redis
) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        calls = [call() for log in workers for _ in range(75) for call in (log.ping, log.state)]
        assert len(await asyncio.gather(*calls)) == 300
        assert len(ours(admin)) < MAX_CLIENTS
        for log in workers:
            await asyncio.gather(*[log.ping() for _ in range(8)])
        # Each keeps the connection of its tail, and one for calls.
        await until(lambda: len(ours(admin)) == 4)
        for log in workers:
            await log.append(drafts())


@pytest.mark.usefixtures("idle_soon")
async def test_a_burst_of_threads_is_answered_and_its_connections_are_closed(
    url: str, admin: Redis
) -> None:
    with ExitStack() as stack:
        logs = [stack.enter_context(closing(RedisSyncLog(url, **OPTIONS))) for _ in range(2)]
        threads = stack.enter_context(ThreadPoolExecutor(40))
        calls = [threads.submit(log.state) for log in logs for _ in range(150)]
        for call in calls:
            await asyncio.wait_for(asyncio.wrap_future(call), DEADLINE_SECONDS)
        await until(lambda: len(ours(admin)) == 2)
    await until(lambda: ours(admin) == [])


async def test_where_no_more_can_connect_the_sound_connections_are_used(
    server: RedisServer, url: str, admin: Redis
) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), RedisLog(url, **OPTIONS) as log:
        with closing(RedisSyncLog(url, **OPTIONS)) as sync_log, ExitStack() as stack:
            await log.append(drafts())
            await asyncio.to_thread(sync_log.append, drafts())
            fill(server, stack)
            for _ in range(2):
                await asyncio.gather(*[log.ping() for _ in range(30)])
                await asyncio.gather(*[asyncio.to_thread(sync_log.state) for _ in range(10)])
                await asyncio.gather(*[log.append(drafts()) for _ in range(30)])
            assert len(ours(admin)) == 2


async def test_a_tail_that_lost_its_connection_takes_one_that_idles(
    server: RedisServer, workers: list[RedisLog], admin: Redis
) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        for log in workers:
            await asyncio.gather(*[log.ping() for _ in range(3)])
        with ExitStack() as stack:
            fill(server, stack)
            tails = [client for client in ours(admin) if "xread" in client["cmd"]]
            for client in tails:
                admin.client_kill_filter(_id=client["id"])
                fill(server, stack)
            killed = {client["id"] for client in tails}

            def are_back() -> bool:
                reading = [client for client in ours(admin) if "xread" in client["cmd"]]
                return len(reading) == 2 and not killed & {client["id"] for client in reading}

            await until(are_back)
            for log in workers:
                await log.append(drafts())


async def test_a_process_without_any_connection_fails_at_once_with_the_reason(
    server: RedisServer, url: str, admin: Redis
) -> None:
    with ExitStack() as stack:
        fill(server, stack)
        async with asyncio.timeout(DEADLINE_SECONDS), RedisLog(url, **OPTIONS) as log:
            started = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                await log.append(drafts())
            assert caught.value.outcome == "not_sent"
            assert time.monotonic() - started < OPTIONS["timeout"]
        assert ours(admin) == []


async def test_a_call_waits_for_a_connection_where_all_are_in_use(url: str, admin: Redis) -> None:
    async with RedisLog(url, **OPTIONS | {"max_connections": 2}) as log:
        tail = asyncio.create_task(follow(log, []))
        await until(lambda: any("xread" in client["cmd"] for client in ours(admin)))
        await asyncio.gather(*[log.ping() for _ in range(20)])
        assert len(ours(admin)) == 2
        tail.cancel()
        await asyncio.wait([tail])


async def test_a_connection_that_was_reset_while_it_idled_is_not_used(server: RedisServer) -> None:
    with relay(server.port) as network:
        async with RedisLog(network.url, **OPTIONS) as log:
            await asyncio.gather(*[log.ping() for _ in range(4)])
            network.reset()
            writers = [idle._writer for idle, _ in log._pool._idle]
            await until(
                lambda: all(writer is not None and writer.is_closing() for writer in writers)
            )
            for _ in range(4):
                await log.ping()


class FakeConnection:
    """One of a server that accepts, refuses, or lets `hold` decide when it answers."""

    def __init__(self, server: "FakeServer") -> None:
        self._server = server
        self.is_connected = False
        self._writer = SimpleNamespace(is_closing=lambda: False)

    async def connect(self) -> None:
        if not self.is_connected:
            await self._server.answer()
            self.is_connected = True

    async def can_read(self) -> bool:
        return False

    async def disconnect(self) -> None:
        self.is_connected = False


class FakeServer:
    def __init__(self) -> None:
        self.accepts = True
        self.hold: asyncio.Event | None = None
        self.attempts = 0

    async def answer(self) -> None:
        self.attempts += 1
        if self.hold:
            await self.hold.wait()
        if not self.accepts:
            raise ConnectionFailed("refused")

    def pool(self, *, limit: int = MAX_CLIENTS) -> LoopPool:
        def make() -> Any:
            return FakeConnection(self)

        return LoopPool(make, limit=limit)


async def test_who_waits_for_a_connection_that_its_caller_keeps_makes_one() -> None:
    """The first connection after a failover may be that of the tail, which nobody gets back."""
    server = FakeServer()
    pool = server.pool()
    server.hold = asyncio.Event()
    tail = asyncio.create_task(pool.acquire(DEADLINE_SECONDS, lasting=True))
    await asyncio.sleep(0)
    tail_answer, server.hold = server.hold, None
    server.accepts = False
    call = asyncio.create_task(pool.acquire(DEADLINE_SECONDS))
    await until(lambda: server.attempts == 2)
    await asyncio.sleep(0)
    server.accepts = True
    tail_answer.set()
    await tail
    async with asyncio.timeout(DEADLINE_SECONDS / 4):
        assert (await call).is_connected


async def test_a_server_that_accepts_again_is_found_though_nobody_is_done() -> None:
    server = FakeServer()
    pool = server.pool()
    await pool.acquire(DEADLINE_SECONDS)
    server.accepts = False
    calls = [asyncio.create_task(pool.acquire(DEADLINE_SECONDS)) for _ in range(MAX_CLIENTS - 1)]
    await until(lambda: server.attempts == 2)
    began = time.monotonic()
    await until(lambda: server.attempts == 4)
    # They do not all try, but one of them after each pause.
    assert time.monotonic() - began > REFUSED_PAUSE_SECONDS
    server.accepts = True
    async with asyncio.timeout(DEADLINE_SECONDS / 4):
        await asyncio.gather(*calls)


async def test_who_gives_up_wakes_another_that_waits() -> None:
    server = FakeServer()
    pool = server.pool(limit=2)
    first, _ = await pool.acquire(1), await pool.acquire(1)
    server.accepts = False
    hasty = asyncio.create_task(pool.acquire(REFUSED_PAUSE_SECONDS / 2))
    await asyncio.sleep(0)
    patient = asyncio.create_task(pool.acquire(DEADLINE_SECONDS))
    await asyncio.sleep(0)
    pool._refused_until = time.monotonic() + REFUSED_PAUSE_SECONDS
    first.is_connected = False  # type: ignore[misc]
    await pool.release(first)  # wakes the hasty one, which may not connect yet
    server.accepts = True
    with pytest.raises(ConnectionFailed):
        await hasty
    async with asyncio.timeout(DEADLINE_SECONDS / 4):
        assert (await patient).is_connected
