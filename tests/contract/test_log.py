"""The promises of every log, each tested with two instances: a sender and a receiver."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any

import pytest

from notifications.errors import Conflict
from notifications.events import Event
from notifications.log.base import Log, SyncLog
from notifications.log.cursors import Cursor
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
from notifications.log.memory import MemoryLog, MemoryStore, MemorySyncLog
from notifications.log.records import Entry
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.failover import sentinel, single_node
from tests.harness.servers import RedisServer, redis_server

DEADLINE_SECONDS = 60.0
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)


@pytest.fixture(scope="session")
def session_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("valkey"), kind="valkey") as server:
        yield server


type Makers = tuple[Callable[[], Log], SyncLog]


@pytest.fixture(scope="session")
def session_sentinel(
    tmp_path_factory: pytest.TempPathFactory, session_redis: RedisServer
) -> Iterator[tuple[RedisServer, str]]:
    with sentinel(tmp_path_factory.mktemp("sentinel"), session_redis) as server:
        yield session_redis, f"redis+sentinel://127.0.0.1:{server.port}/main/0"


@pytest.fixture(scope="session")
def session_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RedisServer, str]]:
    with single_node(tmp_path_factory.mktemp("cluster")) as node:
        yield node, f"redis+cluster://127.0.0.1:{node.port}"


@pytest.fixture(params=["memory", "redis", "valkey", "sentinel", "cluster"])
def makers(request: pytest.FixtureRequest) -> Iterator[Makers]:
    """A function that makes instances of one log, and the same log for synchronous code."""
    if request.param == "memory":
        store = MemoryStore(RETENTION)
        yield lambda: MemoryLog(store), MemorySyncLog(store)
        return
    fixture = request.getfixturevalue(f"session_{request.param}")
    server, url = fixture if isinstance(fixture, tuple) else (fixture, fixture.url)
    with server.client() as client:
        client.flushall()
    settings: dict[str, Any] = {"prefix": "test", "retention": RETENTION, "timeout": 60}
    with closing(RedisSyncLog(url, **settings)) as sync_log:
        yield lambda: RedisLog(url, **settings), sync_log


@pytest.fixture
async def logs(makers: Makers) -> AsyncIterator[tuple[Log, Log]]:
    """A sender and a receiver."""
    async with makers[0]() as sender, makers[0]() as receiver:
        yield sender, receiver


def event(data: Any = "x", *topics: str, **fields: Any) -> Event:
    return Event(topics=topics or ("t",), data=data, **fields)


def drafts(*data: Any) -> list[Draft]:
    return [Draft(event(value)) for value in data]


async def received(log: Log, after: Cursor, count: int) -> list[Entry]:
    """The next `count` events that the log's tail yields."""
    entries: list[Entry] = []
    position = after.position
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.tail(after)) as tail:
        async for batch in tail:
            assert isinstance(batch, Batch)
            assert batch.prev == position
            position = batch.last
            entries += batch.entries
            if len(entries) >= count:
                return entries
    raise AssertionError("A tail ended.")


async def history(log: Log) -> list[Batch]:
    state = await log.state()
    async with aclosing(log.read(until=state.position)) as batches:
        return [batch async for batch in batches]


async def test_both_see_one_epoch_and_one_head(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    [receipt] = await sender.append(drafts("a"))
    assert await sender.state() == await receiver.state() == receipt.cursor


async def test_a_log_without_events_has_a_head_to_tail_from(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    state = await receiver.state()
    await sender.append(drafts("a"))
    [entry] = await received(receiver, state, 1)
    assert entry.data == b"a"


async def test_all_that_was_appended_since_a_moment_follows_the_position_of_that_moment(
    makers: Makers,
) -> None:
    _, sync_log = makers
    moment = time.monotonic()
    [earlier] = sync_log.append(drafts("before"))
    at_first = sync_log.state_before(moment)
    assert at_first
    assert at_first.epoch == earlier.cursor.epoch
    assert at_first.position < earlier.cursor.position
    assert sync_log.state_before(moment + 3600) == earlier.cursor, "never past the head"
    [later] = sync_log.append(drafts("after"))
    still = sync_log.state_before(moment)
    assert still
    assert still.position < earlier.cursor.position < later.cursor.position


async def test_every_field_arrives(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    start = await receiver.state()
    text = event("ünï\r\ncødé\0", "ö.1", "b", type="paid", id="urn:é", retry=1500)
    receipts = await sender.append([Draft(text), Draft(event({"x": None}))])
    first, second = await received(receiver, start, 2)
    assert first == Entry(
        receipts[0].cursor.position,
        ("ö.1", "b"),
        "urn:é".encode(),
        b"paid",
        "ünï\r\ncødé\0".encode(),
        True,
        1500,
    )
    assert (second.position, second.data, second.type, second.is_text, second.retry) == (
        receipts[1].cursor.position,
        b'{"x":null}',
        None,
        False,
        None,
    )
    assert second.id == receipts[1].id.encode()


async def test_a_control_entry_reaches_every_tail_in_order_and_is_no_event(
    logs: tuple[Log, Log], makers: Makers
) -> None:
    sender, receiver = logs
    start = await receiver.state()
    await sender.append(drafts("before"))
    sent = ControlEntry(ControlAction.END, ("user:5", "topic:ü"), "kicked")
    cursor = await asyncio.to_thread(makers[1].append_control, sent)
    [after] = await sender.append(drafts("after"))
    seen: list[Entry | ControlEntry] = []
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(receiver.tail(start)) as tail:
        async for batch in tail:
            assert isinstance(batch, Batch)
            seen += sorted([*batch.entries, *batch.controls], key=lambda entry: entry.position)
            if batch.last == after.cursor.position:
                break
    first, control, second = seen
    assert isinstance(first, Entry)
    assert isinstance(second, Entry)
    assert (first.data, second.data) == (b"before", b"after")
    assert control == replace(sent, position=cursor.position)
    assert cursor.epoch == start.epoch


async def test_history_has_control_entries_and_ends_with_them(
    logs: tuple[Log, Log], makers: Makers
) -> None:
    sender, receiver = logs
    await sender.append(drafts("a"))
    sent = ControlEntry(ControlAction.RECHECK, (EVERYONE,), "")
    cursor = await asyncio.to_thread(makers[1].append_control, sent)
    batches = await history(receiver)
    assert [entry.action for batch in batches for entry in batch.controls] == [
        ControlAction.RECHECK
    ]
    assert [entry.data for batch in batches for entry in batch.entries] == [b"a"]
    assert batches[-1].last == cursor.position == (await receiver.state()).position


async def test_a_tail_brings_events_in_the_order_of_their_receipts(
    logs: tuple[Log, Log],
) -> None:
    sender, receiver = logs
    start = await receiver.state()
    tailing = asyncio.create_task(received(receiver, start, 300))
    receipts = [r for i in range(100) for r in await sender.append(drafts(i, i, i))]
    entries = await tailing
    assert [entry.position for entry in entries] == [r.cursor.position for r in receipts]
    assert sorted(entry.position for entry in entries) == [entry.position for entry in entries]


async def test_batches_of_several_publishers_are_not_mixed(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    start = await receiver.state()
    await asyncio.gather(
        *(log.append(drafts(*[f"{i}"] * 10)) for i, log in enumerate([sender, receiver] * 5))
    )
    entries = await received(receiver, start, 100)
    for first in range(0, 100, 10):
        assert len({entry.data for entry in entries[first : first + 10]}) == 1


async def test_a_tail_begins_after_any_position(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    receipts = await sender.append(drafts(*"abcd"))
    entries = await received(receiver, receipts[1].cursor, 2)
    assert [entry.data for entry in entries] == [b"c", b"d"]


async def test_history_is_read_in_one_joined_run(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    await sender.append(drafts(*range(1500))[:1000])
    await sender.append(drafts(*range(500)))
    batches = await history(receiver)
    assert [a.last for a in batches[:-1]] == [b.prev for b in batches[1:]]
    assert batches[-1].last == (await receiver.state()).position
    entries = [entry for batch in batches for entry in batch.entries]
    assert len(entries) >= 1000
    assert [entry.data for entry in entries[-500:]] == [b"%d" % i for i in range(500)]


async def test_a_cursor_of_another_epoch_is_a_gap(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    await sender.append(drafts("a"))
    state = await sender.state()
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with aclosing(receiver.tail(Cursor("another0epoch", state.position))) as tail:
            assert await anext(tail) == Gap(ResetReason.LOG_LOST)
            with pytest.raises(StopAsyncIteration):
                await anext(tail)


# Idempotency


async def test_a_key_used_again_appends_nothing_and_answers_the_same(
    logs: tuple[Log, Log],
) -> None:
    sender, receiver = logs
    [first] = await sender.append([Draft(event("a"), "key", "f" * 32)])
    [again] = await receiver.append([Draft(event("a"), "key", "f" * 32)])
    assert (again.id, again.cursor, again.duplicate) == (first.id, first.cursor, True)
    assert not first.duplicate
    assert (await sender.state()) == first.cursor


async def test_a_key_with_another_body_is_refused(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    await sender.append([Draft(event("a"), "key", "f" * 32)])
    with pytest.raises(Conflict) as caught:
        await receiver.append([Draft(event("b"), "key", "e" * 32)])
    assert caught.value.extensions == {"index": 0}


async def test_a_conflict_in_a_batch_keeps_nothing_of_it(logs: tuple[Log, Log]) -> None:
    sender, _ = logs
    [first] = await sender.append([Draft(event("a"), "key", "f" * 32)])
    with pytest.raises(Conflict) as caught:
        await sender.append([Draft(event("b"), "new", "1" * 32), Draft(event(), "key", "2" * 32)])
    assert caught.value.extensions == {"index": 1}
    assert await sender.state() == first.cursor
    [kept] = await sender.append([Draft(event("b"), "new", "3" * 32)])
    assert not kept.duplicate


async def test_a_batch_with_repeated_events_appends_only_the_others(
    logs: tuple[Log, Log],
) -> None:
    sender, _ = logs
    [first] = await sender.append([Draft(event("a"), "a", "f" * 32)])
    again, fresh, same = await sender.append(
        [
            Draft(event("a"), "a", "f" * 32),
            Draft(event("b"), "b", "f" * 32),
            Draft(event("b"), "b", "f" * 32),
        ]
    )
    assert (again.duplicate, fresh.duplicate, same.duplicate) == (True, False, True)
    assert again.cursor == first.cursor
    assert same.cursor == fresh.cursor
    assert await sender.state() == fresh.cursor


async def test_a_released_key_is_remembered_for_the_time_of_its_release(
    makers: Makers, logs: tuple[Log, Log]
) -> None:
    sync_log, (sender, _) = makers[1], logs
    [first] = await sender.append([Draft(event(), "k", "1" * 32)])
    await asyncio.to_thread(sync_log.release, ["k", "unknown"], seconds=60)
    [again] = await sender.append([Draft(event(), "k", "1" * 32)])
    assert (again.duplicate, again.cursor) == (True, first.cursor)
    assert await sender.state() == first.cursor
    await asyncio.to_thread(sync_log.release, ["k"], seconds=0)
    [fresh] = await sender.append([Draft(event(), "k", "2" * 32)])
    assert not fresh.duplicate
    assert fresh.cursor.position > first.cursor.position


def part(number: int, *, key: str = "k", fingerprint: str = "f") -> Draft:
    return Draft(event(number), key, fingerprint * 32, part=str(number))


async def test_parts_of_a_key_are_remembered_one_by_one(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    first = await sender.append([part(1), part(2), part(1, key="other")])
    assert not any(receipt.duplicate for receipt in first)
    again = await receiver.append([part(2), part(3), part(3), part(2, key="other")])
    assert [receipt.duplicate for receipt in again] == [True, False, True, False]
    assert again[0].cursor == first[1].cursor
    assert again[2].cursor == again[1].cursor
    assert await sender.state() == again[3].cursor


async def test_each_part_of_a_key_has_its_fingerprint(logs: tuple[Log, Log]) -> None:
    sender, _ = logs
    [first, _] = await sender.append([part(1), part(2, fingerprint="e")])
    with pytest.raises(Conflict) as caught:
        await sender.append([part(3), part(1), part(2)])
    assert caught.value.extensions == {"index": 2}
    [again] = await sender.append([part(1)])
    assert again.cursor == first.cursor


async def test_a_released_key_is_forgotten_with_all_its_parts(
    makers: Makers, logs: tuple[Log, Log]
) -> None:
    sync_log, (sender, _) = makers[1], logs
    await sender.append([part(1), part(2), part(1, key="other")])
    await asyncio.to_thread(sync_log.release, ["k"], seconds=0)
    again = await sender.append([part(1), part(2), part(1, key="other")])
    assert [receipt.duplicate for receipt in again] == [False, False, True]


async def test_one_batch_that_contradicts_itself_is_refused(logs: tuple[Log, Log]) -> None:
    sender, _ = logs
    state = await sender.state()
    with pytest.raises(Conflict):
        await sender.append([Draft(event(), "k", "1" * 32), Draft(event(), "k", "2" * 32)])
    assert await sender.state() == state


# The rest of the contract


async def test_synchronous_code_appends_to_the_same_log(
    makers: Makers, logs: tuple[Log, Log]
) -> None:
    _, receiver = logs
    start = await receiver.state()
    [receipt] = await asyncio.to_thread(makers[1].append, drafts("from a thread"))
    [entry] = await received(receiver, start, 1)
    assert entry.position == receipt.cursor.position


async def test_a_log_that_works_answers_a_ping(logs: tuple[Log, Log]) -> None:
    await logs[0].ping()


async def test_a_cancelled_tail_leaves_nothing_behind(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    start = await receiver.state()
    waiting = asyncio.create_task(received(receiver, start, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await sender.append(drafts("a"))
    assert len(await received(receiver, start, 1)) == 1


async def test_every_instance_reads_the_subjects_that_an_event_skips(
    logs: tuple[Log, Log],
) -> None:
    sender, receiver = logs
    start = await receiver.state()
    await sender.append([Draft(event(), skip=("user:1", "user:ü"))])
    await sender.append([Draft(event())])
    first, second = await received(receiver, start, 2)
    assert first.skip == frozenset({"user:1", "user:ü"})
    assert second.skip is None
    assert [entry.skip for batch in await history(receiver) for entry in batch.entries] == [
        first.skip,
        None,
    ]


async def test_a_control_entry_can_concern_some_topics_only(
    logs: tuple[Log, Log], makers: Makers
) -> None:
    _, receiver = logs
    sent = ControlEntry(ControlAction.END, ("user:5",), "permission_ended", topics=("a", "ü"))
    await asyncio.to_thread(makers[1].append_control, sent)
    [control] = [entry for batch in await history(receiver) for entry in batch.controls]
    assert control.topics == ("a", "ü")


async def test_synchronous_code_reads_the_same_log(logs: tuple[Log, Log], makers: Makers) -> None:
    sender, _ = logs
    sync_log = makers[1]
    start = await asyncio.to_thread(sync_log.state)
    assert start == await sender.state()
    first, second, third = await sender.append(drafts("a", "b", "c"))

    def read(after: Cursor, until: Cursor) -> list[bytes]:
        batches = list(sync_log.read(after=after.position, until=until.position))
        assert batches[0].prev == after.position
        return [entry.data for batch in batches for entry in batch.entries]

    assert await asyncio.to_thread(read, start, third.cursor) == [b"a", b"b", b"c"]
    assert await asyncio.to_thread(read, first.cursor, second.cursor) == [b"b"]
    assert (await asyncio.to_thread(sync_log.state)) == third.cursor


async def test_every_instance_reads_the_trace_of_an_event(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    start = await receiver.state()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await sender.append([Draft(event(), trace=trace), Draft(event(), skip=("user:1",))])
    traced, other = await received(receiver, start, 2)
    assert (traced.trace, traced.skip) == (trace.encode(), None)
    assert (other.trace, other.skip) == (b"", frozenset({"user:1"}))


# Publications at the same time, which may go into the log together


def results_of(results: list[Any]) -> list[Any]:
    """Of each publication `kept`, `duplicate`, or the name of its error."""
    return [
        type(result).__name__
        if isinstance(result, BaseException)
        else "duplicate"
        if result[0].duplicate
        else "kept"
        for result in results
    ]


TOGETHER = [
    [Draft(event("first"))],
    [Draft(event("a"), "key", "f" * 32)],
    [Draft(event("a"), "key", "f" * 32)],
    [Draft(event("b")), Draft(event("other"), "key", "e" * 32)],
    [Draft(event("c")), Draft(event("d"), "new", "1" * 32)],
    [Draft(event("d"), "new", "1" * 32)],
]


def check_together(results: list[Any], kept: list[Batch]) -> None:
    assert results_of(results) == ["kept", "kept", "duplicate", "Conflict", "kept", "duplicate"]
    [first], [a], [again], conflict, [c, d], [d_again] = results
    assert (again.id, again.cursor) == (a.id, a.cursor)
    assert (d_again.id, d_again.cursor) == (d.id, d.cursor)
    assert conflict.extensions == {"index": 1}
    entries = [entry for batch in kept for entry in batch.entries]
    assert [(entry.position, entry.data) for entry in entries] == [
        (receipt.cursor.position, data)
        for receipt, data in ((first, b"first"), (a, b"a"), (c, b"c"), (d, b"d"))
    ]


async def test_publications_at_the_same_time_have_answers_of_their_own(
    logs: tuple[Log, Log],
) -> None:
    sender, receiver = logs
    await sender.state()
    async with asyncio.timeout(DEADLINE_SECONDS):
        results = await asyncio.gather(*map(sender.append, TOGETHER), return_exceptions=True)
    check_together(results, await history(receiver))


async def test_publications_at_the_same_time_keep_their_order(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*(sender.append(drafts(i, i)) for i in range(100)))
    entries = [entry.data for batch in await history(receiver) for entry in batch.entries]
    assert entries == [b"%d" % i for i in range(100) for _ in range(2)]


async def test_one_that_is_cancelled_cancels_none_at_the_same_time(
    logs: tuple[Log, Log],
) -> None:
    sender, receiver = logs
    tasks = [asyncio.create_task(sender.append(drafts(i))) for i in range(12)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    async with asyncio.timeout(DEADLINE_SECONDS):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    acknowledged = [b"%d" % i for i, each in enumerate(results) if isinstance(each, list)]
    assert set(acknowledged) >= {b"%d" % i for i in range(12) if i % 3}
    kept = [entry.data for batch in await history(receiver) for entry in batch.entries]
    assert len(kept) == len(set(kept))
    assert set(kept) >= set(acknowledged)


async def test_threads_that_publish_at_the_same_time_have_answers_of_their_own(
    makers: Makers, logs: tuple[Log, Log]
) -> None:
    sync_log = makers[1]

    def publish(thread: int) -> list[Any]:
        own = [sync_log.append(drafts(f"{thread} {i}")) for i in range(20)]
        return [*own, sync_log.append([Draft(event("shared"), "shared", "f" * 32)])]

    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = await asyncio.gather(*(asyncio.to_thread(publish, i) for i in range(12)))
    shared = [each[-1] for each in answers]
    assert sorted(results_of(shared)) == ["duplicate"] * 11 + ["kept"]
    assert len({receipt.cursor for [receipt] in shared}) == 1
    kept = [entry.data.decode() for batch in await history(logs[1]) for entry in batch.entries]
    for thread in range(12):
        own = [data for data in kept if data.startswith(f"{thread} ")]
        assert own == [f"{thread} {i}" for i in range(20)]
