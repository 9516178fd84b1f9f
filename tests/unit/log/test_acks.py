"""A lost acknowledgement: the log itself finds out whether the event was kept."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from notifications.errors import Conflict, Unavailable
from notifications.events import Event
from notifications.log import script, sections
from notifications.log.acks import HighWaterMarks, Mark
from notifications.log.cursors import Cursor, format_position, make_position
from notifications.log.entries import (
    Batch,
    ControlAction,
    ControlEntry,
    Draft,
    Receipt,
    Retention,
)
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from tests.harness.raw_log import raw_events
from tests.harness.relay import Relay, relay
from tests.harness.servers import RedisServer, free_port, redis_server

PREFIX = "acks"
KEYS = script.Keys(PREFIX)
RETENTION = Retention(events=1000, bytes=10**7, age=3600, idempotency_age=60)
TIMEOUT = 5.0

type Append = Callable[[list[Draft]], list[Receipt]]


@pytest.fixture
def network(redis: RedisServer) -> Iterator[Relay]:
    with relay(redis.port) as network:
        yield network


@pytest.fixture(params=["async", "sync"])
def append(request: pytest.FixtureRequest, network: Relay) -> Iterator[Append]:
    """Both ways into the log, through the network."""
    if request.param == "sync":
        with closing(sync_log_at(network.url)) as sync_log:
            yield sync_log.append
        return
    with asyncio.Runner() as runner:
        log = RedisLog(
            network.url,
            prefix=PREFIX,
            retention=RETENTION,
            timeout=TIMEOUT,
            marks=HighWaterMarks(),
        )
        runner.run(log.__aenter__())
        yield lambda drafts: runner.run(log.append(drafts))
        runner.run(log.__aexit__(None, None, None))


def sync_log_at(url: str, *, timeout: float = TIMEOUT) -> RedisSyncLog:
    """A log in a process that has acknowledged nothing yet."""
    return RedisSyncLog(
        url, prefix=PREFIX, retention=RETENTION, timeout=timeout, marks=HighWaterMarks()
    )


def drafts(*data: str, named: bool = False) -> list[Draft]:
    return [Draft(Event(topics=("t",), data=text), named=named) for text in data]


def kept(redis: Redis) -> list[tuple[str, str]]:
    """The position and the data of every event in the log."""
    return [(event.position.decode(), event.data) for event in raw_events(redis, KEYS.stream)]


def call_of(some: list[Draft], *, retention: Retention = RETENTION) -> list[Any]:
    """The script's call of a first attempt."""
    return script.as_eval(sections.append(KEYS, retention, [sections.section(KEYS, some)]))


def repetition_of(some: list[Draft], before: Cursor | None = None) -> list[Any]:
    again = sections.repetition(sections.section(KEYS, some), before)
    return script.as_eval(sections.append(KEYS, RETENTION, [again]))


def receipts_of(reply: Any, some: list[Draft]) -> list[Receipt]:
    [section] = sections.read_sections(reply, 1)
    return sections.read_receipts(section, some)


def positions(receipts: list[Receipt]) -> list[str]:
    return [format_position(receipt.cursor.position) for receipt in receipts]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("number", [1, 3])
def test_an_event_whose_acknowledgement_is_lost_is_kept_once(
    append: Append, network: Relay, redis: RedisServer, named: bool, number: int
) -> None:
    append(drafts("before"))
    network.cuts, network.most = b"append", 2
    data = list("abc"[:number])
    receipts = append(drafts(*data, named=named))
    assert network.done == 2
    with redis.client() as client:
        assert kept(client)[1:] == list(zip(positions(receipts), data, strict=True))
    assert not any(receipt.duplicate for receipt in receipts)


def test_an_event_with_a_key_whose_acknowledgement_is_lost_is_no_duplicate(
    append: Append, network: Relay, redis: RedisServer
) -> None:
    event = Event(topics=("t",), data="a")
    network.cuts, network.most = b"append", 1
    [receipt] = append([Draft(event, "key", "f" * 32)])
    assert not receipt.duplicate
    [again] = append([Draft(event, "key", "f" * 32)])
    assert (again.duplicate, again.cursor) == (True, receipt.cursor)
    with pytest.raises(Conflict):
        append([Draft(event, "key", "e" * 32)])


def test_the_same_event_published_twice_is_kept_twice(
    append: Append, network: Relay, redis: RedisServer
) -> None:
    """An id only names an event: another call may publish another event under the same id."""
    draft = Draft(Event(topics=("t",), data="a", id="chosen"))
    [first] = append([draft])
    network.cuts, network.most = b"append", 1
    [second] = append([draft])
    assert second.cursor.position > first.cursor.position
    with redis.client() as client:
        assert len(kept(client)) == 2


def test_another_event_with_a_copied_id_is_not_mistaken_for_this_event(
    append: Append, redis: RedisServer
) -> None:
    [draft] = drafts("mine")
    [copy] = append([Draft(Event(topics=("t",), data="copied", id=draft.event.id))])
    with redis.client() as client:
        reply = client.execute_command(*repetition_of([draft]))
    [receipt] = receipts_of(reply, [draft])
    assert receipt.cursor.position > copy.cursor.position


def test_an_attempt_that_arrives_after_its_repetition_appends_nothing(
    redis: RedisServer,
) -> None:
    [draft] = drafts("a")
    section = sections.section(KEYS, [draft])
    first = script.as_eval(sections.append(KEYS, RETENTION, [section]))
    again = script.as_eval(sections.append(KEYS, RETENTION, [sections.repetition(section, None)]))
    with redis.client() as client:
        [receipt] = receipts_of(client.execute_command(*again), [draft])
        late = client.execute_command(*first)
        with pytest.raises(Unavailable):
            receipts_of(late, [draft])
        third = client.execute_command(*again)
        assert receipts_of(third, [draft]) == [receipt]
        assert len(kept(client)) == 1


def test_an_event_too_far_back_to_find_is_unknown_and_not_appended_again(
    redis: RedisServer,
) -> None:
    many = Retention(events=100_000, bytes=10**9, age=3600)
    [first, *_] = buried = drafts(*map(str, range(10_200)))
    with redis.client() as client:
        for start in range(0, len(buried), 300):
            client.execute_command(*call_of(buried[start : start + 300], retention=many))
        with pytest.raises(Unavailable) as caught:
            receipts_of(client.execute_command(*repetition_of([first])), [first])
        assert caught.value.outcome == "unknown"
        assert len(kept(client)) == len(buried)


def test_an_event_that_was_trimmed_since_is_unknown_and_not_appended_again(
    redis: RedisServer,
) -> None:
    [draft, other] = drafts("a", "b")
    with redis.client() as client:
        before = client.execute_command(*script.as_eval(script.state(KEYS)))
        client.execute_command(*call_of([draft]))
        client.execute_command(*call_of([other]))
        client.xtrim(KEYS.stream, maxlen=1, approximate=False)
        for known in (script.read_state(before), None):
            reply = client.execute_command(*repetition_of([draft], known))
            with pytest.raises(Unavailable) as caught:
                receipts_of(reply, [draft])
            assert caught.value.outcome == "unknown"
        assert [data for _, data in kept(client)] == ["b"]


def test_a_repetition_looks_no_further_back_than_the_head_before_it(
    redis: RedisServer,
) -> None:
    [draft] = drafts("a")
    with redis.client() as client:
        [receipt] = receipts_of(client.execute_command(*call_of([draft])), [draft])
        call = repetition_of([draft], receipt.cursor)
        [second] = receipts_of(client.execute_command(*call), [draft])
        other = Cursor("another0epoch", receipt.cursor.position)
        [found] = receipts_of(client.execute_command(*repetition_of([draft], other)), [draft])
    assert second.cursor.position > receipt.cursor.position
    assert found.cursor == second.cursor


def test_a_redis_that_dies_during_an_append_and_is_back_in_time_resolves_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(redis_server(tmp_path))
        network = stack.enter_context(relay(server.port))
        with closing(sync_log_at(network.url, timeout=20)) as sync_log:
            sync_log.append(drafts("before"))
            network.cuts, network.most = b"append", 1
            network.target = free_port()  # nothing listens there
            with ThreadPoolExecutor() as threads:
                publishing = threads.submit(sync_log.append, drafts("a"))
                wait_until(lambda: bool(network.done))
                server.kill()
                with redis_server(tmp_path, port=server.port) as again:
                    network.target = again.port
                    receipts = publishing.result(20)
                    with again.client() as client:
                        assert kept(client)[1:] == [(positions(receipts)[0], "a")]


def test_an_outcome_that_cannot_be_found_out_in_time_is_unknown(
    network: Relay, redis: RedisServer
) -> None:
    with closing(sync_log_at(network.url, timeout=1)) as sync_log:
        sync_log.append(drafts("before"))
        network.cuts = b"append"
        with pytest.raises(Unavailable) as caught:
            sync_log.append(drafts("a"))
        assert caught.value.outcome == "unknown"
        assert network.done > 1


def test_an_append_that_the_network_delays_is_unknown_and_kept_once_when_it_arrives(
    network: Relay, redis: RedisServer
) -> None:
    draft = Draft(Event(topics=("t",), data="a"), "key", "f" * 32)
    with closing(sync_log_at(network.url, timeout=1)) as sync_log:
        sync_log.append(drafts("before"))
        network.hold()
        with pytest.raises(Unavailable) as caught:
            sync_log.append([draft])
        assert caught.value.outcome == "unknown"
        network.let_go()
        with redis.client() as client:
            wait_until(lambda: len(kept(client)) == 2)
    with closing(sync_log_at(network.url)) as sync_log, redis.client() as client:
        [receipt] = sync_log.append([draft])
        assert receipt.duplicate
        assert kept(client)[1:] == [(positions([receipt])[0], "a")]


# Acknowledged events that are gone although the log has grown since


def append_after_reset(sync_log: RedisSyncLog, network: Relay) -> list[Receipt]:
    """What is on its way when the connection is reset may have an unknown outcome."""
    network.reset()
    with suppress(Unavailable):
        sync_log.append(drafts("during the reset"))
    return sync_log.append(drafts("after"))


def test_a_publisher_that_reconnects_to_a_log_without_its_event_ends_the_epoch(
    network: Relay, redis: RedisServer, tmp_path: Path
) -> None:
    with closing(sync_log_at(network.url)) as sync_log, redis.client() as client:
        [before] = sync_log.append(drafts("before"))
        [lost] = sync_log.append(drafts("lost"))
        # As after a failover to a replica that did not have the event, and got others since.
        client.xdel(KEYS.stream, *positions([lost]))
        client.hset(KEYS.meta, "last", positions([before])[0])
        client.execute_command(*call_of(drafts("since")))
        [after] = append_after_reset(sync_log, network)
        assert after.cursor.epoch != before.cursor.epoch


@contextmanager
def lost(client: Redis) -> Iterator[None]:
    """Redis loses what happens in the block, as by a failover to a replica that lacks it."""
    replica: dict[Any, Any] = {key: client.dump(key) for key in client.keys("*")}
    yield
    end = clock_ms(client)
    client.flushall()
    for key, content in replica.items():
        client.restore(key, 0, content)
    while clock_ms(client) <= end:
        pass  # no position is given out again


def clock_ms(client: Redis) -> int:
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def test_a_log_that_goes_back_to_an_epoch_that_ended_ends_it_again(
    network: Relay, redis: RedisServer, tmp_path: Path
) -> None:
    """Whoever has a cursor of that epoch may not know that it has lost something."""
    with closing(sync_log_at(network.url)) as sync_log, redis.client() as client:
        [before] = sync_log.append(drafts("before"))
        with lost(client):
            client.execute_command(*script.end(KEYS, before.cursor.epoch))
            [between] = append_after_reset(sync_log, network)
            assert between.cursor.epoch != before.cursor.epoch
        [after] = append_after_reset(sync_log, network)
        assert after.cursor.epoch not in (before.cursor.epoch, between.cursor.epoch)


@pytest.mark.parametrize("cut", [1, 0], ids=["all but the last", "all"])
def test_an_acknowledged_event_that_was_trimmed_is_not_lost(
    network: Relay, redis: RedisServer, cut: int
) -> None:
    with closing(sync_log_at(network.url)) as sync_log, redis.client() as client:
        [before] = sync_log.append(drafts("before"))
        client.execute_command(*call_of(drafts("since")))
        client.xtrim(KEYS.stream, maxlen=cut, approximate=False)
        [after] = append_after_reset(sync_log, network)
        assert after.cursor.epoch == before.cursor.epoch


# Control entries: the log deletes the oldest of too many from among its events

MAX_CONTROLS = 2
CONTROLS = ("control",) * (2 * MAX_CONTROLS)


def log_of(redis: RedisServer, marks: HighWaterMarks) -> RedisLog:
    """A log with few control entries, in the process that has these marks."""
    slack = script.Slack(controls=MAX_CONTROLS)
    options: dict[str, Any] = {"prefix": PREFIX, "retention": RETENTION, "timeout": TIMEOUT}
    return RedisLog(redis.url, **options, slack=slack, marks=marks)


def control() -> ControlEntry:
    return ControlEntry(ControlAction.RECHECK, ("user:1",), "")


async def append_elsewhere(redis: RedisServer, *kinds: str) -> Cursor:
    """Append events and control entries in a process that knows of no others; return the head."""
    async with log_of(redis, HighWaterMarks()) as log:
        for kind in kinds:
            if kind == "control":
                await log.append_control(control())
            else:
                await log.append(drafts(kind))
        return await log.state()


async def read_until(
    redis: RedisServer, marks: HighWaterMarks, after: Cursor, head: Cursor
) -> None:
    async with log_of(redis, marks) as log, aclosing(log.tail(after)) as tail:
        while True:
            batch = await anext(tail)
            assert isinstance(batch, Batch)
            if batch.last == head.position:
                break
        # The process knows what it has read as soon as its tail goes on.
        reading = asyncio.ensure_future(anext(tail))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])


async def epoch_after_reconnect(redis: RedisServer, marks: HighWaterMarks) -> str:
    async with asyncio.timeout(TIMEOUT), log_of(redis, marks) as log:
        return (await log.state()).epoch


@pytest.mark.parametrize("read", [("control",), ("event", "control"), CONTROLS])
async def test_a_control_entry_that_was_read_and_then_deleted_is_not_lost(
    redis: RedisServer, read: tuple[str, ...]
) -> None:
    marks = HighWaterMarks()
    before = await append_elsewhere(redis, "event")
    await read_until(redis, marks, before, await append_elsewhere(redis, *read))
    for since in (CONTROLS, ("event",), CONTROLS):
        await append_elsewhere(redis, *since)
        assert await epoch_after_reconnect(redis, marks) == before.epoch


@pytest.mark.parametrize(
    ("loaded", "read", "since"),
    [
        ((), ("event", "control"), CONTROLS),
        ((), ("event", "control"), ("event", *CONTROLS)),
        (("event",), ("control",), CONTROLS),
        ((), ("control",), ("event", *CONTROLS)),
        ((), ("control",), ("control",)),
    ],
)
async def test_a_lost_control_entry_is_missed_or_else_a_lost_event_before_it(
    redis: RedisServer, loaded: tuple[str, ...], read: tuple[str, ...], since: tuple[str, ...]
) -> None:
    """`loaded`: what a process has loaded before its tail begins."""
    marks = HighWaterMarks()
    before = await append_elsewhere(redis, "event", "event")
    with redis.client() as client, lost(client):
        start = await append_elsewhere(redis, *loaded)
        head = await append_elsewhere(redis, *read)
        await read_until(redis, marks, start, head)
    await append_elsewhere(redis, *since)
    assert await epoch_after_reconnect(redis, marks) != before.epoch


@pytest.mark.parametrize("since", [(), ("event",), ("control",)])
async def test_a_control_entry_that_was_acknowledged_and_lost_ends_the_epoch(
    redis: RedisServer, since: tuple[str, ...]
) -> None:
    """As a revocation that a failover loses before anybody has read it."""
    marks = HighWaterMarks()
    before = await append_elsewhere(redis, "event")
    with redis.client() as client, lost(client):
        async with log_of(redis, marks) as log:
            await log.append_control(control())
    await append_elsewhere(redis, *since)
    assert await epoch_after_reconnect(redis, marks) != before.epoch


async def test_a_control_entry_that_was_acknowledged_and_then_deleted_is_not_lost(
    redis: RedisServer,
) -> None:
    marks = HighWaterMarks()
    before = await append_elsewhere(redis, "event")
    async with log_of(redis, marks) as log:
        await log.append_control(control())
    for since in (CONTROLS, ("event",), CONTROLS):
        await append_elsewhere(redis, *since)
        assert await epoch_after_reconnect(redis, marks) == before.epoch


# The marks themselves


def receipt(epoch: str, ms: int, *, duplicate: bool = False) -> Receipt:
    return Receipt("", str(Cursor(epoch, make_position(ms))), duplicate)


def mark(epoch: str, ms: int, event_ms: int) -> Mark:
    return Mark(Cursor(epoch, make_position(ms)), make_position(event_ms))


def test_a_mark_has_what_was_acknowledged_or_read_last_and_the_last_event() -> None:
    marks = HighWaterMarks()
    first, second = "0" * 8, "1" * 8
    marks.reach("log", Cursor(first, make_position(3)), make_position(1))
    assert marks.mark("log") == mark(first, 3, 1)
    marks.note("log", [receipt(first, 2, duplicate=True)])
    assert marks.mark("log") == mark(first, 3, 2)
    marks.note("log", [receipt(first, 4), receipt(first, 5)])
    assert marks.mark("log") == mark(first, 5, 5)
    marks.reach("log", Cursor(first, make_position(4)), make_position(4))
    assert marks.mark("log") == mark(first, 5, 5)
    marks.reach("log", Cursor(first, make_position(6)), make_position(0))
    assert marks.mark("log") == mark(first, 6, 5)
    marks.reach("log", Cursor(second, make_position(7)), make_position(0))
    assert marks.mark("log") == mark(second, 7, 0)
    assert marks.mark("another") is None


def test_a_repetition_of_an_epoch_that_has_ended_leaves_the_mark_of_the_next_one() -> None:
    marks = HighWaterMarks()
    ended, known = (
        Cursor("0123456789ab", make_position(9, 0)),
        Cursor("ba9876543210", make_position(5, 0)),
    )
    marks.note("log", [Receipt("a", str(ended))])
    marks.note("log", [Receipt("b", str(known))])
    marks.note("log", [Receipt("a", str(ended), duplicate=True)])
    mark = marks.mark("log")
    assert mark
    assert mark.cursor == known
    assert not marks.has_gone_back("log", known.epoch)
    assert marks.has_gone_back("log", ended.epoch)
