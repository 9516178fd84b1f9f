"""Everything that can happen to a stream in Redis is noticed."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log import script, sections
from notifications.log.acks import HighWaterMarks
from notifications.log.calls import MAX_CONNECTIONS
from notifications.log.cursors import Cursor, format_position
from notifications.log.entries import (
    EVERYONE,
    Batch,
    ControlAction,
    ControlEntry,
    Draft,
    Gap,
    ResetReason,
    Retention,
)
from notifications.log.reader import Reader
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.raw_log import header
from tests.harness.servers import RedisServer, free_port, redis_server

DEADLINE_SECONDS = 60.0
STREAM, META = "{test}:log", "{test}:meta"
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)
NO_SLACK = script.Slack(events=0, bytes=0, ms=0)

type LogAt = Callable[..., RedisLog]


@pytest.fixture
def log_at() -> LogAt:
    """Makes logs of one process, which has acknowledged nothing before the test."""
    marks = HighWaterMarks()

    def make(
        server: RedisServer | str,
        *,
        retention: Retention = RETENTION,
        timeout: float = 2,
        slack: script.Slack = script.SLACK,
    ) -> RedisLog:
        url = server if isinstance(server, str) else server.url
        return RedisLog(
            url, prefix="test", retention=retention, timeout=timeout, slack=slack, marks=marks
        )

    return make


@pytest.fixture
async def log(redis: RedisServer, log_at: LogAt) -> AsyncIterator[RedisLog]:
    async with log_at(redis) as log:
        yield log


def drafts(*data: Any, topic: str = "t") -> list[Draft]:
    return [Draft(Event(topics=(topic,), data=value)) for value in data]


@asynccontextmanager
async def tailing(log: RedisLog, after: Cursor) -> AsyncIterator[AsyncGenerator[Batch | Gap]]:
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.tail(after)) as tail:
        yield tail


async def wait_for_xread(redis: RedisServer) -> None:
    """Wait until a client is blocked in an XREAD."""
    with redis.client() as client:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not client.info("clients")["blocked_clients"]:  # noqa: ASYNC110 - Redis sends no event
                await asyncio.sleep(0)


async def test_an_event_after_a_flush_under_a_blocked_read_is_a_gap(
    redis: RedisServer, log: RedisLog
) -> None:
    [before] = await log.append(drafts("a"))
    async with tailing(log, before.cursor) as tail:
        received = asyncio.ensure_future(anext(tail))
        await wait_for_xread(redis)
        with redis.client() as client:
            client.flushall()
        [after] = await log.append(drafts("b"))
        assert await received == Gap(ResetReason.LOG_LOST)
    assert after.cursor.epoch != before.cursor.epoch


async def test_a_flush_alone_is_a_gap(redis: RedisServer, log: RedisLog) -> None:
    [before] = await log.append(drafts("a"))
    async with tailing(log, before.cursor) as tail:
        received = asyncio.ensure_future(anext(tail))
        await wait_for_xread(redis)
        with redis.client() as client:
            client.flushall()
        assert await received == Gap(ResetReason.LOG_LOST)


async def test_entries_trimmed_under_a_lagging_tail_are_a_gap(
    redis: RedisServer, log: RedisLog
) -> None:
    receipts = await log.append(drafts(*"abcdef"))
    with redis.client() as client:
        client.xtrim(STREAM, maxlen=2, approximate=False)
    async with tailing(log, receipts[0].cursor) as tail:
        assert await anext(tail) == Gap(ResetReason.TRIMMED)
    async with tailing(log, receipts[3].cursor) as tail:
        batch = await anext(tail)
        assert isinstance(batch, Batch)
        assert [entry.data for entry in batch.entries] == [b"e", b"f"]


async def test_a_hole_in_the_middle_of_a_read_is_a_gap_after_the_sound_entries(
    redis: RedisServer, log: RedisLog
) -> None:
    receipts = await log.append(drafts(*"abcdef"))
    with redis.client() as client:
        client.xdel(STREAM, format_position(receipts[3].cursor.position))
    async with tailing(log, receipts[0].cursor) as tail:
        batch = await anext(tail)
        assert isinstance(batch, Batch)
        assert [entry.data for entry in batch.entries] == [b"b", b"c"]
        assert await anext(tail) == Gap(ResetReason.TRIMMED)


async def test_history_with_a_hole_is_read_in_runs(redis: RedisServer, log: RedisLog) -> None:
    receipts = await log.append(drafts(*"abcdef"))
    with redis.client() as client:
        client.xdel(STREAM, format_position(receipts[3].cursor.position))
    state = await log.state()
    batches = [batch async for batch in log.read(until=state.position)]
    assert [len(batch.entries) for batch in batches] == [3, 2]
    assert batches[1].prev == receipts[3].cursor.position


async def test_entries_of_other_writers_are_skipped(redis: RedisServer, log: RedisLog) -> None:
    [first] = await log.append(drafts("a"))
    async with tailing(log, first.cursor) as tail:
        with redis.client() as client:
            client.xadd(STREAM, {"who": "another writer"})
        [second] = await log.append(drafts("b"))
        batch = await anext(tail)
        assert isinstance(batch, Batch)
        assert (batch.prev, batch.last) == (first.cursor.position, second.cursor.position)
        assert [entry.data for entry in batch.entries] == [b"b"]


async def test_a_deleted_stream_loses_no_event_that_comes_later(
    redis: RedisServer, log: RedisLog
) -> None:
    [first] = await log.append(drafts("a"))
    with redis.client() as client:
        client.delete(STREAM)
    await log.append(drafts("b"))
    async with tailing(log, first.cursor) as tail:
        batch = await anext(tail)
        assert isinstance(batch, Batch)
        assert [entry.data for entry in batch.entries] == [b"b"]


async def test_a_clock_that_went_back_after_a_deletion_begins_a_new_epoch(
    redis: RedisServer, log: RedisLog
) -> None:
    [first] = await log.append(drafts("a"))
    with redis.client() as client:
        client.delete(STREAM)
        client.hset(META, "last", "99999999999999-0")
    [second] = await log.append(drafts("b"))
    assert second.cursor.epoch != first.cursor.epoch
    state = await log.state()
    assert state == second.cursor
    batches = [batch async for batch in log.read(until=state.position)]
    assert [entry.data for entry in batches[-1].entries] == [b"b"]


async def test_a_redis_that_comes_back_with_older_data_ends_the_epoch(
    tmp_path: Path, log_at: LogAt
) -> None:
    port = free_port()
    with redis_server(tmp_path / "now", port=port) as server:
        async with log_at(server) as log:
            await log.append(drafts("a"))
    shutil.copytree(tmp_path / "now", tmp_path / "older")
    with redis_server(tmp_path / "now", port=port) as server:
        async with log_at(server) as log:
            [lost] = await log.append(drafts("b"))
            async with tailing(log, lost.cursor) as tail:
                received = asyncio.ensure_future(anext(tail))
                await wait_for_xread(server)
                server.kill()
                with redis_server(tmp_path / "older", port=port):
                    assert await received == Gap(ResetReason.LOG_LOST)
                    state = await log.state()
                    assert state.epoch != lost.cursor.epoch


async def test_an_acknowledged_event_that_is_gone_ends_the_epoch(
    tmp_path: Path, log_at: LogAt
) -> None:
    port = free_port()
    with redis_server(tmp_path / "now", port=port) as server:
        async with log_at(server) as log:
            [seen] = await log.append(drafts("a"))
            server.stop()
    shutil.copytree(tmp_path / "now", tmp_path / "older")
    with redis_server(tmp_path / "now", port=port) as server:
        async with log_at(server) as log:
            await log.append(drafts("acknowledged, and not yet read"))
            server.kill()
    with redis_server(tmp_path / "older", port=port) as server:
        async with log_at(server) as log, tailing(log, seen.cursor) as tail:
            assert await anext(tail) == Gap(ResetReason.LOG_LOST)


async def test_a_tail_resumes_at_its_position_when_redis_is_back(
    tmp_path: Path, log_at: LogAt
) -> None:
    port = free_port()
    with redis_server(tmp_path, port=port) as server:
        async with log_at(server) as log:
            [first] = await log.append(drafts("a"))
            async with tailing(log, first.cursor) as tail:
                received = asyncio.ensure_future(anext(tail))
                await wait_for_xread(server)
                server.kill()
                with pytest.raises(Unavailable) as caught:
                    await log.append(drafts("lost"))
                assert caught.value.outcome == "not_sent"
                with redis_server(tmp_path, port=port):
                    [second] = await log.append(drafts("b"))
                    batch = await received
                    assert isinstance(batch, Batch)
                    assert (batch.prev, batch.last) == (
                        first.cursor.position,
                        second.cursor.position,
                    )


async def test_a_stopped_redis_leaves_the_outcome_unknown_and_a_repetition_safe(
    tmp_path: Path, log_at: LogAt
) -> None:
    with redis_server(tmp_path) as server:
        async with log_at(server, timeout=1) as log:
            await log.append(drafts("a"))
            server.pause()
            draft = Draft(Event(topics=("t",), data="b"), "key", "f" * 32)
            with pytest.raises(Unavailable) as caught:
                await log.append([draft])
            assert caught.value.outcome == "unknown"
            server.resume()
            await log.append([draft])
            state = await log.state()
            entries = [e async for b in log.read(until=state.position) for e in b.entries]
            assert [entry.data for entry in entries] == [b"a", b"b"]


async def test_a_full_redis_refuses_and_keeps_nothing(tmp_path: Path, log_at: LogAt) -> None:
    with redis_server(tmp_path, options=("--maxmemory", "3mb")) as server:
        async with log_at(server) as log:
            [first] = await log.append(drafts("a"))
            with server.client() as client:
                client.config_set("maxmemory", "1mb")
            with pytest.raises(Unavailable, match="refused") as caught:
                await log.append(drafts("b"))
            assert caught.value.outcome == "not_sent"
            with server.client() as client:
                client.config_set("maxmemory", "0")
            assert await log.state() == first.cursor


@pytest.mark.parametrize("key", [STREAM, META])
async def test_a_key_of_another_type_is_unavailable_and_not_a_crash(
    redis: RedisServer, log: RedisLog, key: str
) -> None:
    with redis.client() as client:
        client.set(key, "something else")
    for call in (log.append(drafts("a")), log.ping()):
        with pytest.raises(Unavailable, match="refused") as caught:
            await call
        assert caught.value.outcome == "not_sent"


async def test_the_canary_writes_nothing_into_the_log(redis: RedisServer, log: RedisLog) -> None:
    with redis.client() as client:
        await log.ping()
        assert client.keys() == [script.Keys("test").canary.encode()]
        assert 0 < client.ttl(script.Keys("test").canary) <= 60


async def test_an_acknowledged_event_that_is_gone_is_noticed_although_the_log_has_grown_again(
    redis: RedisServer, log: RedisLog
) -> None:
    """By a tail that had not read the event: the entries that this tail reads have no hole."""
    [seen] = await log.append(drafts("seen"))
    [lost] = await log.append(drafts("acknowledged, and not yet read"))
    with redis.client() as client:
        client.xdel(STREAM, format_position(lost.cursor.position))
        client.hset(META, "last", format_position(seen.cursor.position))
        since = drafts("since, by another publisher")
        retention = Retention(events=1000, bytes=10**7, age=3600)
        keys = script.Keys("test")
        call = sections.append(keys, retention, [sections.section(keys, since)])
        client.execute_command(*script.as_eval(call))
    async with tailing(log, seen.cursor) as tail:
        assert await anext(tail) == Gap(ResetReason.LOG_LOST)


async def test_where_no_server_listens_nothing_was_sent(log_at: LogAt) -> None:
    async with log_at(f"redis://127.0.0.1:{free_port()}/0") as log:
        for call in (log.state(), log.append(drafts("a")), log.ping()):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.outcome == "not_sent"


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(events=3, bytes=10**9, age=3600), 3),
        (Retention(events=1000, bytes=5 * 1076, age=3600), 5),
    ],
)
async def test_the_stream_is_trimmed_by_number_and_by_size(
    redis: RedisServer, log_at: LogAt, retention: Retention, kept: int
) -> None:
    async with log_at(redis, retention=retention, slack=NO_SLACK) as log:
        for _ in range(20):
            await log.append(drafts("x" * 1000))
        await log.append(drafts(*["x" * 1000] * 7))
        with redis.client() as client:
            assert client.xlen(STREAM) == kept


async def test_the_stream_is_trimmed_by_age_when_something_is_appended(
    redis: RedisServer, log_at: LogAt
) -> None:
    async with log_at(redis, slack=NO_SLACK) as log:
        state = await log.state()
        with redis.client() as client:
            client.delete(STREAM)
            for i in range(1, 4):
                client.xadd(STREAM, {header("0-0", "event", "t"): ""}, id=f"{i}-0")
        await log.append(drafts("a"))
        await log.append(drafts("b"))
        with redis.client() as client:
            assert client.xlen(STREAM) == 2
        assert state.epoch == (await log.state()).epoch


async def test_many_calls_at_once_share_few_connections(redis: RedisServer, log_at: LogAt) -> None:
    # The timeout of a call includes the time that it waits for a connection.
    with redis.client() as client:
        before = client.info("clients")["connected_clients"]
        async with log_at(redis, timeout=60) as log:
            await asyncio.gather(*(log.ping() for _ in range(300)))
            assert client.info("clients")["connected_clients"] - before <= MAX_CONNECTIONS


async def test_a_cancelled_append_does_not_give_its_reply_to_the_next_command(
    log: RedisLog,
) -> None:
    for rounds in range(20):
        task = asyncio.create_task(log.append(drafts("cancelled")))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        state = await log.state()
        assert len(state.epoch) == 12


async def test_a_redis_that_would_evict_the_log_is_an_error_in_the_logs(
    redis: RedisServer, log: RedisLog, caplog: pytest.LogCaptureFixture
) -> None:
    state = await log.state()
    for policy, errors in (("noeviction", 0), ("allkeys-lru", 1)):
        with redis.client() as client:
            client.config_set("maxmemory-policy", policy)
        try:
            await log.append(drafts("a"))
            async with tailing(log, state) as tail:
                await anext(tail)
        finally:
            with redis.client() as client:
                client.config_set("maxmemory-policy", "noeviction")
        assert sum("log.eviction" in record.message for record in caplog.records) == errors


async def test_a_control_action_that_this_version_does_not_know_rechecks_everyone() -> None:
    body = b'{"order":"dance","subjects":[]}'
    [batch] = Reader().batch([(b"1-0", [header("0-0", "control").encode(), body])])
    [control] = batch.controls
    assert (control.action, control.subjects) == (ControlAction.RECHECK, (EVERYONE,))


async def test_entries_that_count_nothing_are_trimmed_too(redis: RedisServer) -> None:
    retention = Retention(events=10, bytes=10**7, age=3600)
    sync_log = RedisSyncLog(redis.url, prefix="test", retention=retention, timeout=5)
    with redis.client() as client, closing(sync_log):
        client.eval(
            "for i = 1, 20100 do redis.call('XADD', KEYS[1], '*', 'not', 'ours') end",
            1,
            script.Keys("test").stream,
        )
        for _ in range(60):
            sync_log.append_control(ControlEntry(ControlAction.RECHECK, ("user:1",), ""))
        limit = 10 + script.SLACK.events + script.SLACK.controls
        assert client.xlen(script.Keys("test").stream) <= limit


async def test_publications_at_the_same_time_are_one_call(
    redis: RedisServer, log_at: LogAt
) -> None:
    async with log_at(redis, timeout=60) as log:
        await log.append(drafts("connects"))
        with redis.client() as client:
            client.config_resetstat()
            receipts = await asyncio.gather(*(log.append(drafts(i)) for i in range(100)))
            assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 2
    positions = [receipt.cursor.position for [receipt] in receipts]
    assert positions == sorted(set(positions))
