"""What every log promises, each time with two instances: one sends, another receives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from notifications.errors import Conflict
from notifications.events import Event
from notifications.log.base import (
    EVERYONE,
    Appender,
    Batch,
    Control,
    Draft,
    Entry,
    Gap,
    Log,
    Order,
    ResetReason,
    Retention,
)
from notifications.log.cursors import Cursor
from notifications.log.memory import MemoryAppender, MemoryLog, MemoryStore
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisAppender
from tests.harness.failover import sentinel, single_node
from tests.harness.servers import RedisServer, redis_server

DEADLINE = 10.0
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)


@pytest.fixture(scope="session")
def session_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("valkey"), kind="valkey") as server:
        yield server


type Make = Callable[[], Log]


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
def make(request: pytest.FixtureRequest) -> Iterator[tuple[Make, Appender]]:
    """Makes instances of one log, and an appender to it for code that is not async."""
    if request.param == "memory":
        store = MemoryStore(RETENTION)
        yield lambda: MemoryLog(store), MemoryAppender(store)
        return
    given = request.getfixturevalue(f"session_{request.param}")
    server, url = given if isinstance(given, tuple) else (given, given.url)
    with server.client() as client:
        client.flushall()
    settings: dict[str, Any] = {"prefix": "test", "retention": RETENTION, "timeout": 5}
    appender = RedisAppender(url, **settings)
    yield lambda: RedisLog(url, **settings), appender
    appender.close()


@pytest.fixture
async def logs(make: tuple[Make, Appender]) -> AsyncIterator[tuple[Log, Log]]:
    """A sender and a receiver."""
    async with make[0]() as sender, make[0]() as receiver:
        yield sender, receiver


def event(data: Any = "x", *topics: str, **fields: Any) -> Event:
    return Event(topics=topics or ("t",), data=data, **fields)


def drafts(*data: Any) -> list[Draft]:
    return [Draft(event(each)) for each in data]


async def received(log: Log, after: Cursor, count: int) -> list[Entry]:
    """The next `count` events that its tail brings."""
    entries: list[Entry] = []
    place = after.position
    async with asyncio.timeout(DEADLINE), aclosing(log.tail(after)) as tail:
        async for said in tail:
            assert isinstance(said, Batch)
            assert said.prev == place
            place = said.last
            entries += said.entries
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


async def test_every_field_arrives(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    start = await receiver.state()
    text = event("ünï\r\ncødé\0", "ö.1", "b", type="paid", id="urn:é", retry=1500)
    [first, second] = await sender.append([Draft(text), Draft(event({"x": None}))])
    one, two = await received(receiver, start, 2)
    assert one == Entry(
        first.cursor.position,
        ("ö.1", "b"),
        "urn:é".encode(),
        b"paid",
        "ünï\r\ncødé\0".encode(),
        True,
        1500,
    )
    assert (two.position, two.data, two.type, two.is_text, two.retry) == (
        second.cursor.position,
        b'{"x":null}',
        None,
        False,
        None,
    )
    assert two.id == second.id.encode()


async def test_a_control_entry_reaches_every_tail_in_its_place_and_is_no_event(
    logs: tuple[Log, Log], make: tuple[Make, Appender]
) -> None:
    sender, receiver = logs
    start = await receiver.state()
    await sender.append(drafts("before"))
    order = Control(Order.END, ("user:5", "topic:ü"), "kicked")
    place = await asyncio.to_thread(make[1].command, order)
    [after] = await sender.append(drafts("after"))
    seen: list[Entry | Control] = []
    async with asyncio.timeout(DEADLINE), aclosing(receiver.tail(start)) as tail:
        async for said in tail:
            assert isinstance(said, Batch)
            seen += sorted([*said.entries, *said.controls], key=lambda each: each.position)
            if said.last == after.cursor.position:
                break
    one, control, two = seen
    assert isinstance(one, Entry)
    assert isinstance(two, Entry)
    assert (one.data, two.data) == (b"before", b"after")
    assert control == replace(order, position=place.position)
    assert place.epoch == start.epoch


async def test_history_has_control_entries_and_ends_with_them(
    logs: tuple[Log, Log], make: tuple[Make, Appender]
) -> None:
    sender, receiver = logs
    await sender.append(drafts("a"))
    order = Control(Order.RECHECK, (EVERYONE,), "")
    place = await asyncio.to_thread(make[1].command, order)
    batches = await history(receiver)
    assert [each.order for batch in batches for each in batch.controls] == [Order.RECHECK]
    assert [each.data for batch in batches for each in batch.entries] == [b"a"]
    assert batches[-1].last == place.position == (await receiver.state()).position


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
    async with asyncio.timeout(DEADLINE):
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


async def test_what_a_batch_repeats_is_answered_and_the_rest_appended(
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


async def test_keys_are_remembered_after_their_release_for_as_long_as_it_says(
    make: tuple[Make, Appender], logs: tuple[Log, Log]
) -> None:
    appender, (sender, _) = make[1], logs
    [first] = await sender.append([Draft(event(), "k", "1" * 32)])
    await asyncio.to_thread(appender.release, ["k", "unknown"], after=60)
    [again] = await sender.append([Draft(event(), "k", "1" * 32)])
    assert (again.duplicate, again.cursor) == (True, first.cursor)
    assert await sender.state() == first.cursor
    await asyncio.to_thread(appender.release, ["k"], after=0)
    [fresh] = await sender.append([Draft(event(), "k", "2" * 32)])
    assert not fresh.duplicate
    assert fresh.cursor.position > first.cursor.position


async def test_one_batch_that_contradicts_itself_is_refused(logs: tuple[Log, Log]) -> None:
    sender, _ = logs
    state = await sender.state()
    with pytest.raises(Conflict):
        await sender.append([Draft(event(), "k", "1" * 32), Draft(event(), "k", "2" * 32)])
    assert await sender.state() == state


# And


async def test_synchronous_code_appends_to_the_same_log(
    make: tuple[Make, Appender], logs: tuple[Log, Log]
) -> None:
    _, receiver = logs
    start = await receiver.state()
    [receipt] = await asyncio.to_thread(make[1].append, drafts("from a thread"))
    [entry] = await received(receiver, start, 1)
    assert entry.position == receipt.cursor.position


async def test_a_log_that_is_well_says_so(logs: tuple[Log, Log]) -> None:
    await logs[0].ping()


async def test_a_tail_that_is_left_leaves_nothing_behind(logs: tuple[Log, Log]) -> None:
    sender, receiver = logs
    start = await receiver.state()
    waiting = asyncio.create_task(received(receiver, start, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await sender.append(drafts("a"))
    assert len(await received(receiver, start, 1)) == 1


async def test_whom_an_event_passes_over_is_read_by_everyone(
    logs: tuple[Log, Log],
) -> None:
    sender, receiver = logs
    start = await receiver.state()
    await sender.append([Draft(event(), skip=("user:1", "user:ü"))])
    await sender.append([Draft(event())])
    one, two = await received(receiver, start, 2)
    assert one.skip == frozenset({"user:1", "user:ü"})
    assert two.skip is None
    assert [each.skip for batch in await history(receiver) for each in batch.entries] == [
        one.skip,
        None,
    ]


async def test_a_control_entry_can_be_about_some_topics_only(
    logs: tuple[Log, Log], make: tuple[Make, Appender]
) -> None:
    _, receiver = logs
    order = Control(Order.END, ("user:5",), "permission_ended", topics=("a", "ü"))
    await asyncio.to_thread(make[1].command, order)
    [control] = [each for batch in await history(receiver) for each in batch.controls]
    assert control.topics == ("a", "ü")


async def test_synchronous_code_reads_the_same_log(
    logs: tuple[Log, Log], make: tuple[Make, Appender]
) -> None:
    sender, _ = logs
    appender = make[1]
    start = await asyncio.to_thread(appender.state)
    assert start == await sender.state()
    one, two, three = await sender.append(drafts("a", "b", "c"))

    def read(after: Cursor, until: Cursor) -> list[bytes]:
        batches = list(appender.read(after=after.position, until=until.position))
        assert batches[0].prev == after.position
        return [entry.data for batch in batches for entry in batch.entries]

    assert await asyncio.to_thread(read, start, three.cursor) == [b"a", b"b", b"c"]
    assert await asyncio.to_thread(read, one.cursor, two.cursor) == [b"b"]
    assert (await asyncio.to_thread(appender.state)) == three.cursor
