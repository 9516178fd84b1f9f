"""Redis with a replica: what is waited for, and a master that is one no more."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log import acks
from notifications.log.base import Batch, Draft, Receipt, Retention
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisAppender
from notifications.log.script import Keys
from tests.harness.relay import relay
from tests.harness.servers import RedisServer, redis_server

DEADLINE = 20.0
PREFIX = "replicas"
AT_ONCE = ("--repl-diskless-sync-delay", "0", "--shutdown-timeout", "0")
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)


@dataclass
class Pair:
    master: RedisServer
    replica: RedisServer


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("replicated")
    with redis_server(folder / "master", options=AT_ONCE) as master:
        options = ("--replicaof", "127.0.0.1", str(master.port))
        with redis_server(folder / "replica", options=options) as replica:
            with master.client() as client:
                client.set("linked", "1")
                assert client.wait(1, int(DEADLINE * 1000)) == 1
            yield Pair(master, replica)


@pytest.fixture(autouse=True)
def nothing_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "here", acks.HighWaterMarks())


def log_at(url: str, *, timeout: float, replicas: int) -> RedisLog:
    return RedisLog(url, prefix=PREFIX, retention=RETENTION, timeout=timeout, replicas=replicas)


def draft(data: str, *, key: str | None = None) -> Draft:
    return Draft(Event(topics=("t",), data=data), key, "f" * 32)


async def test_what_is_acknowledged_is_on_the_replica(replicated: Pair) -> None:
    async with log_at(replicated.master.url, timeout=DEADLINE, replicas=1) as log:
        await log.ping()
        for number in range(50):
            await log.append([draft(str(number))])
            with replicated.replica.client() as replica:
                [(_, fields)] = replica.xrevrange(Keys(PREFIX).stream, count=1)
                assert fields[b"data"] == b"%d" % number


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
async def test_what_the_replica_does_not_confirm_is_unknown_also_when_it_is_repeated(
    replicated: Pair, asynchronous: bool
) -> None:
    url = replicated.master.url
    appender = RedisAppender(url, prefix=PREFIX, retention=RETENTION, timeout=0.5, replicas=1)
    async with log_at(url, timeout=0.5, replicas=1) as log:
        with closing(appender):

            async def append() -> list[Receipt]:
                if asynchronous:
                    return await log.append(drafts)
                return await asyncio.to_thread(appender.append, drafts)

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
    async with log_at(url, timeout=DEADLINE, replicas=1) as log:
        await log.ping()
        [receipt] = await log.append(drafts)
        assert receipt.duplicate


async def test_a_master_that_became_a_replica_is_left_for_the_one_at_its_address(
    tmp_path: Path,
) -> None:
    """By publishers at once, and by a tail, to which it would have nothing to say for ever."""
    with redis_server(tmp_path / "old", options=AT_ONCE) as old, relay(old.port) as address:
        async with log_at(address.url, timeout=DEADLINE, replicas=0) as log:
            [before] = await log.append([draft("before")])
            async with asyncio.timeout(DEADLINE), aclosing(log.tail(before.cursor)) as tail:
                said = asyncio.ensure_future(anext(tail))
                options = (*AT_ONCE, "--replicaof", "127.0.0.1", str(old.port))
                with redis_server(tmp_path / "new", options=options) as new:
                    with old.client() as client:
                        client.set("linked", "1")
                        assert client.wait(1, int(DEADLINE * 1000)) == 1
                    with new.client() as client:
                        client.replicaof("NO", "ONE")
                    with old.client() as client:
                        client.replicaof("127.0.0.1", 1)  # whose master never answers
                    address.target = new.port
                    with pytest.raises(Unavailable) as caught:
                        await log.append([draft("refused")])
                    assert caught.value.outcome == "not_sent"
                    [after] = await log.append([draft("after")])
                    batch = await said
                    assert isinstance(batch, Batch)
                    assert [entry.data for entry in batch.entries] == [b"after"]
                    assert batch.last == after.cursor.position
