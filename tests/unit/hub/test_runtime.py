"""The runtime loads the window, follows the log, recovers from faults, and stops."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from notifications.conf import Settings
from notifications.events import Event
from notifications.hub import runtime as runtime_module
from notifications.hub.grants import Grant
from notifications.hub.runtime import Runtime
from notifications.hub.subscribers import Start
from notifications.log.cursors import Cursor, Position, make_position
from notifications.log.entries import (
    ControlAction,
    ControlEntry,
    Draft,
    Receipt,
    ResetReason,
    Retention,
)
from notifications.log.factory import open_log
from notifications.log.memory import MemoryLog, MemoryStore
from tests.harness.fakes import FakeTransport
from tests.harness.servers import RedisServer

DEADLINE = 30.0
SETTINGS = Settings(LOG="memory")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Retention(events=1000, bytes=10**7, age=3600))


@pytest.fixture
async def runtime(store: MemoryStore) -> AsyncIterator[Runtime]:
    runtime = Runtime(SETTINGS, MemoryLog(store))
    assert await runtime.wait_ready(timeout=DEADLINE)
    yield runtime
    await runtime.stop()


def publish(store: MemoryStore, *data: str) -> list[Receipt]:
    return store.append([Draft(Event(topics=("t",), data=text)) for text in data])


def join(runtime: Runtime, start: Start | None = None) -> FakeTransport:
    transport = FakeTransport()
    runtime.subscribe(Grant(topics=("t",)), transport, start or Start())
    return transport


async def test_a_control_entry_of_a_new_epoch_comes_before_its_events(
    store: MemoryStore, runtime: Runtime
) -> None:
    """The process reads both not by its tail, but while it loads the log anew."""
    asked = asyncio.Event()

    async def renew() -> Grant | None:
        asked.set()
        return await asyncio.Future()

    transport = FakeTransport()
    grant = Grant(topics=("t",), subjects=("user:1",), as_of=runtime.hub.head, renew=renew)
    runtime.subscribe(grant, transport, Start())
    store.clear()
    store.append_control(ControlEntry(ControlAction.END, ("user:1",), "kicked"))
    publish(store, "secret")
    others = join(runtime)
    async with asyncio.timeout(DEADLINE):
        while "secret" not in others.received and not transport.ended:
            publish(store, "secret")
            await asyncio.sleep(0)
    assert transport.ended
    assert "secret" not in transport.received
    assert not asked.is_set()


@pytest.mark.parametrize("reason", ["kicked", "signed_out"])
async def test_a_grant_that_a_control_entry_has_ended_meanwhile_brings_no_history(
    store: MemoryStore, runtime: Runtime, reason: str
) -> None:
    """The permissions were read before the entry, and the stream opens after it."""

    async def renew() -> Grant | None:
        return await asyncio.Future()

    asked = runtime.hub.head
    [before] = publish(store, "before")
    store.append_control(ControlEntry(ControlAction.END, ("user:1",), reason))
    publish(store, "secret")
    others = join(runtime, Start(cursor=asked))
    async with asyncio.timeout(DEADLINE):
        while "secret" not in others.received:  # noqa: ASYNC110 - until the process has read it
            await asyncio.sleep(0)
    transport = FakeTransport()
    grant = Grant(topics=("t",), subjects=("user:1",), as_of=asked, renew=renew)
    runtime.subscribe(grant, transport, Start(cursor=before.cursor))
    assert transport.received == ["stream.cursor", "stream.closing"]
    assert transport.events[0].id == before.cursor_text, "it has nothing beyond its cursor"


@pytest.mark.usefixtures("own_log")
async def test_a_request_that_comes_while_the_runtime_stops_starts_no_other() -> None:
    first = runtime_module.start()
    assert await first.wait_ready(timeout=DEADLINE)
    stopping = asyncio.create_task(runtime_module.stop())
    while first.ready:  # noqa: ASYNC110 - until the task has begun
        await asyncio.sleep(0)
    assert runtime_module.start() is first
    await stopping
    assert runtime_module.current() is None


async def until_received(transport: FakeTransport, item: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while item not in transport.received:  # noqa: ASYNC110 - the fake sets no event
            await asyncio.sleep(0)


async def test_a_runtime_is_ready_once_it_has_loaded_the_history(store: MemoryStore) -> None:
    publish(store, *map(str, range(500)))
    runtime = Runtime(SETTINGS, MemoryLog(store))
    assert not runtime.ready
    assert await runtime.wait_ready(timeout=DEADLINE)
    transport = join(runtime, Start(since_ms=0))
    await until_received(transport, "499")
    assert transport.received == ["stream.cursor", *map(str, range(500))]
    await runtime.stop()


async def test_a_published_event_arrives(runtime: Runtime, store: MemoryStore) -> None:
    transport = join(runtime)
    publish(store, "a", "b")
    await until_received(transport, "b")
    assert transport.received == ["stream.cursor", "a", "b"]


async def test_a_log_that_lost_everything_is_a_reset_and_then_goes_on(
    runtime: Runtime, store: MemoryStore
) -> None:
    transport = join(runtime)
    [before] = publish(store, "a")
    await until_received(transport, "a")
    store.clear()
    await until_received(transport, "stream.reset")
    publish(store, "b")
    await until_received(transport, "b")
    assert transport.received == ["stream.cursor", "a", "stream.reset", "b"]
    returning = join(runtime, Start(cursor=str(before.cursor)))
    assert returning.events[0].data == '{"reason":"log_lost"}'


async def test_after_a_lost_log_every_permission_is_rechecked(
    runtime: Runtime, store: MemoryStore
) -> None:
    """A control entry may be among the lost entries."""

    async def no_grant() -> Grant | None:
        return None

    transport, public = FakeTransport(), join(runtime)
    grant = Grant(topics=("t",), renew=no_grant, as_of=runtime.hub.head)
    runtime.subscribe(grant, transport, Start())
    store.clear()
    await until_received(transport, "stream.closing")
    assert transport.events[-1].data == '{"reason":"permission_ended"}'
    await until_received(public, "stream.reset")
    assert not public.ended


async def test_a_tail_that_fails_for_any_reason_is_a_reset_and_starts_again(
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime = Runtime(SETTINGS, MemoryLog(store), retry_seconds=0.001)
    assert await runtime.wait_ready(timeout=DEADLINE)
    transport = join(runtime)
    deliver = runtime.hub.deliver

    async def fails_once(batch: object) -> None:
        monkeypatch.setattr(runtime.hub, "deliver", deliver)
        raise KeyError("a fault")

    monkeypatch.setattr(runtime.hub, "deliver", fails_once)
    publish(store, "a")
    await until_received(transport, "stream.reset")
    publish(store, "b")
    await until_received(transport, "b")
    await runtime.stop()


async def test_a_cursor_that_the_log_has_not_reached_either_is_a_reset(
    runtime: Runtime, store: MemoryStore
) -> None:
    [receipt] = publish(store, "a")
    far = Cursor(receipt.cursor.epoch, Position(receipt.cursor.position + make_position(10**9)))
    transport = join(runtime, Start(cursor=str(far)))
    await until_received(transport, "stream.reset")
    assert f'"reason":"{ResetReason.UNKNOWN}"' in transport.events[-1].data
    publish(store, "b")
    await until_received(transport, "b")


async def test_a_runtime_that_stops_opens_no_stream_and_leaves_no_task(
    store: MemoryStore,
) -> None:
    before = len(asyncio.all_tasks())
    runtime = Runtime(SETTINGS, MemoryLog(store))
    assert await runtime.wait_ready(timeout=DEADLINE)
    transport = join(runtime)
    await runtime.stop()
    assert transport.ended
    assert not runtime.ready
    assert len(asyncio.all_tasks()) == before


async def test_a_process_that_starts_without_redis_waits_for_it(redis: RedisServer) -> None:
    redis.pause()
    settings = Settings(LOG="redis", REDIS_URL=redis.url, PUBLISH_TIMEOUT=0.1)
    runtime = Runtime(settings, open_log(settings), retry_seconds=0.01)
    assert not await runtime.wait_ready(timeout=0.3)
    redis.resume()
    assert await runtime.wait_ready(timeout=DEADLINE)
    await runtime.stop()


async def test_the_tasks_of_a_runtime_hold_nothing_of_the_request_that_started_it(
    store: MemoryStore,
) -> None:
    whose = ContextVar("whose", default="nobody's")
    seen = []

    class Log(MemoryLog):
        async def state(self) -> Cursor:
            seen.append(whose.get())
            return await super().state()

    whose.set("a request's")
    runtime = Runtime(SETTINGS, Log(store))
    assert await runtime.wait_ready(timeout=DEADLINE)
    await runtime.stop()
    assert seen == ["nobody's"]


@pytest.mark.usefixtures("own_log", "runtime_ends")
async def test_each_event_loop_has_one_runtime() -> None:
    assert runtime_module.current() is None
    assert runtime_module.start() is runtime_module.start() is runtime_module.current()
