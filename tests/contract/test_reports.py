"""Reports of processes in every log: one of each process, for a while."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from notifications.log.memory import MemoryLog, MemoryStore, MemorySyncLog
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from notifications.log.reports import FORGET_PROCESSES_SECONDS
from notifications.log.script import Keys
from tests.contract.test_log import session_valkey
from tests.contract.test_log_controls import DEADLINE_SECONDS, RETENTION, Instances
from tests.harness.servers import RedisServer

__all__ = ["session_valkey"]

NOW = 1_800_000_000.0


@pytest.fixture(params=["memory", "redis", "valkey"])
def instances(request: pytest.FixtureRequest) -> Iterator[Instances]:
    if request.param == "memory":
        store = MemoryStore(RETENTION)
        yield lambda: MemoryLog(store), MemorySyncLog(store)
        return
    server: RedisServer = request.getfixturevalue(f"session_{request.param}")
    with server.client() as client:
        client.flushall()
    options: dict[str, Any] = {"prefix": "test", "retention": RETENTION, "timeout": 5}
    with closing(RedisSyncLog(server.url, **options)) as sync_log:
        yield lambda: RedisLog(server.url, **options), sync_log


async def test_the_last_report_of_each_process_is_read_until_it_expires(
    instances: Instances,
) -> None:
    make, reader = instances
    assert await asyncio.to_thread(reader.reports) == []
    async with make() as one, make() as other:
        await one.report("one", "first", at=NOW, seconds=60)
        await other.report("other", "brief", at=NOW, seconds=0.05)
        await one.report("one", "last", at=NOW + 1, seconds=60)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await asyncio.to_thread(reader.reports) != ["last"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await other.report("other", "back", at=NOW + 2, seconds=60)
        assert sorted(await asyncio.to_thread(reader.reports)) == ["back", "last"]


async def test_redis_forgets_the_names_of_processes_that_are_long_gone(
    session_redis: RedisServer,
) -> None:
    options: dict[str, Any] = {"prefix": "test", "retention": RETENTION, "timeout": 5}
    with session_redis.client() as client:
        client.flushall()
        for number in range(3):
            async with RedisLog(session_redis.url, **options) as log:
                at = NOW + number * (FORGET_PROCESSES_SECONDS + 1)
                await log.report(f"process-{number}", "text", at=at, seconds=60)
        assert client.zrange(Keys("test").reports, 0, -1) == [b"process-2"]
