"""What a process runs: it loads, follows, heals, and stops."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from notifications.conf import Settings
from notifications.events import Event
from notifications.hub import runtime as runtimes
from notifications.hub.grants import Grant
from notifications.hub.runtime import Runtime
from notifications.hub.subscribers import Start
from notifications.log.base import Draft, Receipt, ResetReason, Retention
from notifications.log.cursors import Cursor, Position, position
from notifications.log.factory import open_log
from notifications.log.memory import MemoryLog, MemoryStore
from tests.harness.fakes import FakeTransport
from tests.harness.servers import RedisServer

DEADLINE = 10.0
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
    return store.append([Draft(Event(topics=("t",), data=each)) for each in data])


def join(runtime: Runtime, start: Start | None = None) -> FakeTransport:
    transport = FakeTransport()
    runtime.subscribe(Grant(topics=("t",)), transport, start or Start())
    return transport


async def until_said(transport: FakeTransport, said: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while said not in transport.said:  # noqa: ASYNC110 - the fake has nobody to tell
            await asyncio.sleep(0)


async def test_history_is_loaded_before_it_is_ready(store: MemoryStore) -> None:
    publish(store, *map(str, range(500)))
    runtime = Runtime(SETTINGS, MemoryLog(store))
    assert not runtime.ready
    assert await runtime.wait_ready(timeout=DEADLINE)
    transport = join(runtime, Start(since_ms=0))
    await until_said(transport, "499")
    assert transport.said == ["stream.cursor", *map(str, range(500))]
    await runtime.stop()


async def test_what_is_published_arrives(runtime: Runtime, store: MemoryStore) -> None:
    transport = join(runtime)
    publish(store, "a", "b")
    await until_said(transport, "b")
    assert transport.said == ["stream.cursor", "a", "b"]


async def test_a_log_that_lost_everything_is_a_reset_and_then_goes_on(
    runtime: Runtime, store: MemoryStore
) -> None:
    transport = join(runtime)
    [before] = publish(store, "a")
    await until_said(transport, "a")
    store.clear()
    await until_said(transport, "stream.reset")
    publish(store, "b")
    await until_said(transport, "b")
    assert transport.said == ["stream.cursor", "a", "stream.reset", "b"]
    returning = join(runtime, Start(cursor=str(before.cursor)))
    assert returning.events[0].data == '{"reason":"log_lost"}'


async def test_a_log_that_lost_something_has_every_permission_asked_about_again(
    runtime: Runtime, store: MemoryStore
) -> None:
    """An order may have been among what is lost."""

    async def nobody() -> Grant | None:
        return None

    transport, public = FakeTransport(), join(runtime)
    grant = Grant(topics=("t",), renew=nobody, as_of=runtime.hub.head)
    runtime.subscribe(grant, transport, Start())
    store.clear()
    await until_said(transport, "stream.closing")
    assert transport.events[-1].data == '{"reason":"permission_ended"}'
    await until_said(public, "stream.reset")
    assert not public.ended


async def test_a_tail_that_fails_for_whatever_reason_is_a_reset_and_begins_again(
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(runtimes, "LOAD_PAUSE", 0.001)
    log = MemoryLog(store)
    runtime = Runtime(SETTINGS, log)
    assert await runtime.wait_ready(timeout=DEADLINE)
    transport = join(runtime)
    deliver = runtime.hub.deliver

    async def fails_once(batch: object) -> None:
        monkeypatch.setattr(runtime.hub, "deliver", deliver)
        raise KeyError("a fault")

    monkeypatch.setattr(runtime.hub, "deliver", fails_once)
    publish(store, "a")
    await until_said(transport, "stream.reset")
    publish(store, "b")
    await until_said(transport, "b")
    await runtime.stop()


async def test_a_cursor_that_the_log_has_not_reached_either_is_a_reset(
    runtime: Runtime, store: MemoryStore
) -> None:
    [receipt] = publish(store, "a")
    far = Cursor(receipt.cursor.epoch, Position(receipt.cursor.position + position(10**9)))
    transport = join(runtime, Start(cursor=str(far)))
    await until_said(transport, "stream.reset")
    assert f'"reason":"{ResetReason.UNKNOWN}"' in transport.events[-1].data
    publish(store, "b")
    await until_said(transport, "b")


async def test_a_runtime_that_stops_takes_no_more_and_leaves_no_task(
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


async def test_a_process_that_starts_without_redis_waits_for_it(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "LOAD_PAUSE", 0.01)
    redis.pause()
    settings = Settings(LOG="redis", REDIS_URL=redis.url, PUBLISH_TIMEOUT=0.1)
    runtime = Runtime(settings, open_log(settings))
    assert not await runtime.wait_ready(timeout=0.3)
    redis.resume()
    assert await runtime.wait_ready(timeout=DEADLINE)
    await runtime.stop()


async def test_what_it_runs_holds_nothing_of_the_request_that_started_it(
    store: MemoryStore,
) -> None:
    whose = ContextVar("whose", default="nobody's")
    found = []

    class Log(MemoryLog):
        async def state(self) -> Cursor:
            found.append(whose.get())
            return await super().state()

    whose.set("a request's")
    runtime = Runtime(SETTINGS, Log(store))
    assert await runtime.wait_ready(timeout=DEADLINE)
    await runtime.stop()
    assert found == ["nobody's"]


@pytest.mark.usefixtures("own_log", "runtime_ends")
async def test_there_is_one_for_each_event_loop() -> None:
    assert runtimes.here() is None
    assert runtimes.start() is runtimes.start() is runtimes.here()
