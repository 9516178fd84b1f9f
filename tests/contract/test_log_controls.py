"""Control entries in every log: they have a bound of their own, and take no event with them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest

from notifications.hub.window import Window
from notifications.log.base import Log, SyncLog
from notifications.log.cursors import START, Cursor
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
from notifications.log.script import Slack
from tests.contract.test_log import drafts, session_valkey
from tests.harness.servers import RedisServer

__all__ = ["session_valkey"]

DEADLINE_SECONDS = 60.0
RETENTION = Retention(events=10, bytes=10**6, age=3600)
MAX_CONTROLS = 5
RECHECK_EVERYONE = (ControlAction.RECHECK, (EVERYONE,))

type Instances = tuple[Callable[[], Log], SyncLog]


@pytest.fixture(params=["memory", "redis", "valkey"])
def instances(request: pytest.FixtureRequest) -> Iterator[Instances]:
    if request.param == "memory":
        store = MemoryStore(RETENTION, max_controls=MAX_CONTROLS)
        yield lambda: MemoryLog(store), MemorySyncLog(store)
        return
    server: RedisServer = request.getfixturevalue(f"session_{request.param}")
    with server.client() as client:
        client.flushall()
    slack = Slack(events=0, controls=MAX_CONTROLS, bytes=0, ms=0)
    options: dict[str, Any] = {"prefix": "test", "retention": RETENTION, "timeout": 5}
    with closing(RedisSyncLog(server.url, slack=slack, **options)) as sync_log:
        yield lambda: RedisLog(server.url, slack=slack, **options), sync_log


@pytest.fixture
async def logs(instances: Instances) -> AsyncIterator[tuple[SyncLog, Log]]:
    """A sender and a receiver."""
    async with instances[0]() as receiver:
        yield instances[1], receiver


def recheck_of(number: int) -> ControlEntry:
    return ControlEntry(ControlAction.RECHECK, (f"user:{number}",), "")


async def history(log: Log) -> list[Batch]:
    state = await log.state()
    async with aclosing(log.read(until=state.position)) as batches:
        return [batch async for batch in batches]


async def tail_until(log: Log, after: Cursor, until: Cursor) -> list[Batch | Gap]:
    """What a tail yields up to this cursor, or up to a gap."""
    found: list[Batch | Gap] = []
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.tail(after)) as tail:
        async for item in tail:
            found.append(item)
            if isinstance(item, Gap) or item.last >= until.position:
                return found
    raise AssertionError("A tail ended.")


async def test_no_number_of_control_entries_evicts_an_event(logs: tuple[SyncLog, Log]) -> None:
    sender, receiver = logs
    sender.append(drafts(*range(10)))
    for number in range(200):
        sender.append_control(recheck_of(number))
    batches = await history(receiver)
    assert [entry.data for batch in batches for entry in batch.entries] == [
        b"%d" % number for number in range(10)
    ]


async def test_control_entries_between_events_evict_none_and_are_bounded(
    logs: tuple[SyncLog, Log],
) -> None:
    sender, receiver = logs
    for number in range(10):
        sender.append(drafts(number))
        for control in range(20):
            sender.append_control(recheck_of(control))
    batches = await history(receiver)
    assert sum(len(batch.entries) for batch in batches) == 10
    named = [
        entry for batch in batches for entry in batch.controls if EVERYONE not in entry.subjects
    ]
    assert len(named) <= MAX_CONTROLS


async def test_the_number_of_events_is_still_bounded(logs: tuple[SyncLog, Log]) -> None:
    sender, receiver = logs
    for number in range(30):
        sender.append(drafts(number))
        sender.append_control(recheck_of(number))
    batches = await history(receiver)
    assert [entry.data for batch in batches for entry in batch.entries] == [
        b"%d" % number for number in range(20, 30)
    ]


async def test_a_tail_that_missed_control_entries_gets_every_event_and_rechecks_everyone(
    logs: tuple[SyncLog, Log],
) -> None:
    sender, receiver = logs
    [first] = sender.append(drafts("first"))
    for number in range(3 * MAX_CONTROLS):
        sender.append_control(recheck_of(number))
    [second] = sender.append(drafts("second"))
    found = await tail_until(receiver, first.cursor, second.cursor)
    batches = [item for item in found if isinstance(item, Batch)]
    assert len(batches) == len(found)
    assert batches[0].prev == first.cursor.position
    assert [entry.data for batch in batches for entry in batch.entries] == [b"second"]
    controls = [entry for batch in batches for entry in batch.controls]
    assert RECHECK_EVERYONE in {(entry.action, entry.subjects) for entry in controls}
    assert all(first.cursor.position < entry.position for entry in controls)
    assert [entry.position for entry in controls] == sorted(entry.position for entry in controls)


async def test_a_tail_that_read_control_entries_before_they_were_deleted_goes_on(
    logs: tuple[SyncLog, Log],
) -> None:
    sender, receiver = logs
    sender.append(drafts("first"))
    read = sender.append_control(recheck_of(0))
    for number in range(3 * MAX_CONTROLS):
        sender.append_control(recheck_of(number))
    [second] = sender.append(drafts("second"))
    found = await tail_until(receiver, read, second.cursor)
    assert all(isinstance(item, Batch) for item in found)


async def test_a_window_keeps_its_events_where_control_entries_were_deleted(
    logs: tuple[SyncLog, Log],
) -> None:
    sender, receiver = logs
    for number in range(10):
        sender.append(drafts(number))
        for control in range(2 * MAX_CONTROLS):
            sender.append_control(recheck_of(control))
    window = Window(RETENTION)
    for batch in await history(receiver):
        window.append(batch)
    assert len(window) == 10
    assert window.head == (await receiver.state()).position


async def test_a_tail_from_before_the_oldest_event_is_still_a_gap(
    logs: tuple[SyncLog, Log],
) -> None:
    sender, receiver = logs
    [first] = sender.append(drafts("first"))
    for number in range(30):
        sender.append(drafts(number))
        sender.append_control(recheck_of(number))
    state = await receiver.state()
    assert await tail_until(receiver, first.cursor, state) == [Gap(ResetReason.TRIMMED)]


def test_11_500_control_entries_leave_the_history_as_it_is(session_redis: RedisServer) -> None:
    with session_redis.client() as client:
        client.flushall()
    retention = Retention(events=1000, bytes=10**7, age=3600)
    log = RedisSyncLog(session_redis.url, prefix="test", retention=retention, timeout=5)
    with closing(log):
        log.append(drafts(*range(10)))
        for number in range(11_500):
            log.append_control(recheck_of(number))
        kept: list[Entry] = []
        for batch in log.read(after=START, until=log.state().position):
            kept += batch.entries
        assert len(kept) == 10
        [receipt] = log.append([Draft(drafts("after")[0].event)])
        assert receipt.cursor == log.state()
