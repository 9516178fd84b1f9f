"""Redis with a replica: an append waits for it, and a former master is not written to."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.acks import HighWaterMarks
from notifications.log.entries import Batch, Draft, Receipt, Retention
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from notifications.log.script import Keys
from tests.harness.raw_log import raw_events
from tests.harness.relay import relay
from tests.harness.servers import RedisServer, redis_server

DEADLINE_SECONDS = 60.0
PREFIX = "replicas"
NO_DELAYS = ("--repl-diskless-sync-delay", "0", "--shutdown-timeout", "0")
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)


@dataclass
class Pair:
    master: RedisServer
    replica: RedisServer


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("replicated")
    with redis_server(folder / "master", options=NO_DELAYS) as master:
        options = ("--replicaof", "127.0.0.1", str(master.port))
        with redis_server(folder / "replica", options=options) as replica:
            with master.client() as client:
                client.set("linked", "1")
                assert client.wait(1, int(DEADLINE_SECONDS * 1000)) == 1
            yield Pair(master, replica)


@pytest.fixture
def marks() -> HighWaterMarks:
    """Of a process that has acknowledged nothing yet."""
    return HighWaterMarks()


def log_at(url: str, *, timeout: float, replicas: int, marks: HighWaterMarks) -> RedisLog:
    return RedisLog(
        url,
        prefix=PREFIX,
        retention=RETENTION,
        timeout=timeout,
        replicas=replicas,
        marks=marks,
    )


def draft(data: str, *, key: str | None = None) -> Draft:
    return Draft(Event(topics=("t",), data=data), key, "f" * 32)


async def test_an_acknowledged_event_is_on_the_replica(
    replicated: Pair, marks: HighWaterMarks
) -> None:
    async with log_at(
        replicated.master.url, timeout=DEADLINE_SECONDS, replicas=1, marks=marks
    ) as log:
        await log.ping()
        for number in range(50):
            await log.append([draft(str(number))])
            with replicated.replica.client() as replica:
                assert raw_events(replica, Keys(PREFIX).stream)[-1].data == str(number)


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
async def test_an_append_that_the_replica_does_not_confirm_is_unknown_also_when_repeated(
    replicated: Pair, marks: HighWaterMarks, asynchronous: bool
) -> None:
    url = replicated.master.url
    sync_log = RedisSyncLog(
        url, prefix=PREFIX, retention=RETENTION, timeout=0.5, replicas=1, marks=marks
    )
    async with log_at(url, timeout=0.5, replicas=1, marks=marks) as log:
        with closing(sync_log):

            async def append() -> list[Receipt]:
                if asynchronous:
                    return await log.append(drafts)
                return await asyncio.to_thread(sync_log.append, drafts)

            drafts = [draft("a", key=f"key {asynchronous}")]
            replicated.replica.pause()
            try:
                for _ in range(2):
                    with pytest.raises(Unavailable) as caught:
                        await append()
                    assert caught.value.outcome == "unknown"
                with pytest.raises(Unavailable):
                    await log.ping()
            finally:
                replicated.replica.resume()
    async with log_at(url, timeout=DEADLINE_SECONDS, replicas=1, marks=marks) as log:
        await log.ping()
        [receipt] = await log.append(drafts)
        assert receipt.duplicate


async def test_a_master_that_became_a_replica_is_left_for_the_new_master_at_its_address(
    tmp_path: Path, marks: HighWaterMarks
) -> None:
    """By publishers at once, and by a tail, which would wait at the old master for ever."""
    with redis_server(tmp_path / "old", options=NO_DELAYS) as old, relay(old.port) as address:
        async with log_at(address.url, timeout=DEADLINE_SECONDS, replicas=0, marks=marks) as log:
            [before] = await log.append([draft("before")])
            async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.tail(before.cursor)) as tail:
                received = asyncio.ensure_future(anext(tail))
                options = (*NO_DELAYS, "--replicaof", "127.0.0.1", str(old.port))
                with redis_server(tmp_path / "new", options=options) as new:
                    with old.client() as client:
                        client.set("linked", "1")
                        assert client.wait(1, int(DEADLINE_SECONDS * 1000)) == 1
                    with new.client() as client:
                        client.replicaof("NO", "ONE")
                    with old.client() as client:
                        client.replicaof("127.0.0.1", 1)  # whose master never answers
                    address.target = new.port
                    with pytest.raises(Unavailable) as caught:
                        await log.append([draft("refused")])
                    assert caught.value.outcome == "not_sent"
                    [after] = await log.append([draft("after")])
                    batch = await received
                    assert isinstance(batch, Batch)
                    assert [entry.data for entry in batch.entries] == [b"after"]
                    assert batch.last == after.cursor.position
