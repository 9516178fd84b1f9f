"""Publishing while the log is unavailable: it fails in bounded time, with the outcome."""

import asyncio
from collections.abc import Iterator

import pytest
from pytest_django import Settings as DjangoSettings

from notifications import (
    Event,
    Unavailable,
    apublish,
    apublish_many,
    publish,
    publish_many,
)
from notifications.hub import runtime
from notifications.log.cursors import Cursor
from tests.harness.promises import within
from tests.harness.published import published_data, read_published
from tests.harness.servers import RedisServer
from tests.harness.silent_redis import silent_redis
from tests.unit.publishing.log_settings import use_redis

pytestmark = pytest.mark.usefixtures("own_log")

DEADLINE_SECONDS = 60.0


@pytest.fixture(params=["refuses connections", "never answers"])
def outcome(request: pytest.FixtureRequest, settings: DjangoSettings) -> Iterator[str]:
    """An unavailable log, and the outcome of publishing to it."""
    if request.param == "refuses connections":
        use_redis(settings)
        yield "not_sent"
        return
    with silent_redis() as url:
        use_redis(settings, url)
        yield "unknown"


def test_publishing_fails_soon_with_the_outcome(outcome: str) -> None:
    with within(5), pytest.raises(Unavailable) as caught:
        publish("demo.a", "x")
    assert caught.value.outcome == outcome


@pytest.mark.parametrize("runs", [True, False])
async def test_publishing_from_a_loop_fails_as_soon_with_the_outcome(
    outcome: str, *, runs: bool
) -> None:
    if runs:
        runtime.start()
    with within(5), pytest.raises(Unavailable) as caught:
        await apublish("demo.a", "x")
    assert caught.value.outcome == outcome
    await runtime.stop()


async def test_failing_silently_returns_the_event_without_a_cursor(
    settings: DjangoSettings,
) -> None:
    use_redis(settings)
    for event in (
        publish("demo.a", "x", fail_silently=True),
        await apublish("demo.a", "x", fail_silently=True),
    ):
        assert event.data == "x"
        assert event.cursor is None


async def test_several_fail_as_one(settings: DjangoSettings) -> None:
    use_redis(settings)
    events = [Event(topics="demo.a", data="x")]
    with pytest.raises(Unavailable):
        publish_many(events)
    with pytest.raises(Unavailable):
        await apublish_many(events)


def test_once_redis_is_back_publishing_goes_on(
    settings: DjangoSettings, redis: RedisServer
) -> None:
    use_redis(settings, redis.url, PUBLISH_TIMEOUT=1)
    publish("demo.a", "before")
    redis.pause()
    try:
        with pytest.raises(Unavailable) as caught:
            publish("demo.a", "lost or not", idempotency_key="k")
    finally:
        redis.resume()
    assert caught.value.outcome == "unknown"
    publish("demo.a", "lost or not", idempotency_key="k")
    assert published_data() == ["before", "lost or not"]


async def test_a_cancelled_call_leaves_no_reply_for_the_next(
    settings: DjangoSettings, redis: RedisServer, runtime_ends: None
) -> None:
    use_redis(settings, redis.url)
    assert await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    await apublish("demo.a", "before")
    redis.pause()
    try:
        calls = [asyncio.create_task(apublish("demo.a", str(number))) for number in range(3)]
        await asyncio.wait(calls, timeout=0.05)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls, timeout=DEADLINE_SECONDS)
    finally:
        redis.resume()
    after = [await apublish("demo.a", f"after {number}") for number in range(5)]
    cursors = {entry.data.decode(): entry.position for entry in await read_published()}
    for event in after:
        assert Cursor.parse(str(event.cursor)).position == cursors[event.data]
