"""Publishing from Python: from anywhere, once, after commit, and never for long."""

import asyncio
import logging
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from pytest_django import Settings as DjangoSettings

import notifications
from notifications import (
    Conflict,
    Event,
    Invalid,
    TooLarge,
    Unavailable,
    apublish,
    apublish_many,
    publish,
    publish_many,
    publish_on_commit,
    user_topic,
)
from notifications.conf import get_settings
from notifications.hub import runtime
from notifications.log.base import Entry
from notifications.log.cursors import Cursor
from notifications.log.factory import open_log
from tests.harness.servers import RedisServer, free_port
from tests.harness.silent_redis import silent_redis

pytestmark = pytest.mark.usefixtures("own_log")

BOUND = 5.0


async def read() -> list[Entry]:
    async with open_log(get_settings()) as log:
        state = await log.state()
        return [entry async for batch in log.read(until=state.position) for entry in batch.entries]


def kept() -> list[Entry]:
    """All that the log has, asked by somebody else."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, read()).result(BOUND)


def kept_data() -> list[str]:
    return [entry.data.decode() for entry in kept()]


def away(settings: DjangoSettings, url: str | None = None, **more: Any) -> None:
    """Keep events where nobody listens, or at this URL."""
    url = url or f"redis://127.0.0.1:{free_port()}/0"
    settings.CARILLON = {**settings.CARILLON, "LOG": "redis", "REDIS_URL": url, **more}


def test_the_front_door_has_all_that_an_application_needs() -> None:
    assert all(hasattr(notifications, name) for name in notifications.__all__)


# One event


def test_what_is_published_is_returned_with_its_cursor() -> None:
    event = publish("demo.a", {"n": 1}, type="note", id="mine")
    assert (event.topics, event.data, event.type, event.id) == (
        ("demo.a",),
        {"n": 1},
        "note",
        "mine",
    )
    (entry,) = kept()
    assert Cursor.parse(str(event.cursor)).position == entry.position
    assert (entry.topics, entry.data, entry.type, entry.id) == (
        ("demo.a",),
        b'{"n":1}',
        b"note",
        b"mine",
    )


@pytest.mark.parametrize(
    "topic", [["demo.a", "demo.b"], ("demo.a", "demo.b"), iter(["demo.a", "demo.b", "demo.a"])]
)
def test_several_topics_are_one_event(topic: Iterable[str]) -> None:
    publish(topic, "once")
    (entry,) = kept()
    assert entry.topics == ("demo.a", "demo.b")


def test_data_is_what_django_writes_as_json() -> None:
    publish("demo.a", {"price": Decimal("1.10")})
    assert kept_data() == ['{"price":"1.10"}']


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"topic": ""}, "topic"),
        ({"topic": []}, "topic"),
        ({"topic": [7]}, "topic"),
        ({"type": "stream.x"}, "type"),
        ({"type": ""}, "type"),
        ({"id": "a\nb"}, "id"),
        ({"id": ""}, "id"),
        ({"data": object()}, "data"),
        ({"data": float("nan")}, "data"),
        ({"data": "\ud800"}, "data"),
    ],
)
@pytest.mark.parametrize("silently", [False, True])
def test_what_cannot_be_an_event_is_the_callers_fault(
    arguments: dict[str, Any], field: str, *, silently: bool
) -> None:
    with pytest.raises(Invalid) as caught:
        publish(**{"topic": "demo.a", "data": "x", **arguments}, fail_silently=silently)
    assert caught.value.extensions["field"] == field
    assert kept() == []


def test_an_event_has_the_limit_of_the_settings(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 4}
    assert publish("demo.a", "1234").cursor
    with pytest.raises(TooLarge):
        publish("demo.a", "12345")


def test_a_repeated_key_publishes_nothing_and_returns_what_was() -> None:
    first, again = [publish("demo.a", "x", idempotency_key="k") for _ in range(2)]
    assert (again.id, again.cursor) == (first.id, first.cursor)
    assert kept_data() == ["x"]


@pytest.mark.parametrize("other", [{"data": "y"}, {"type": "note"}, {"id": "mine"}])
def test_a_key_that_was_used_for_something_else_is_a_conflict(other: dict[str, Any]) -> None:
    publish("demo.a", "x", idempotency_key="k")
    with pytest.raises(Conflict):
        publish(**{"topic": "demo.a", "data": "x", **other}, idempotency_key="k")
    assert kept_data() == ["x"]


def test_text_and_json_that_look_alike_are_not_the_same_event() -> None:
    publish("t", "1", idempotency_key="look alike")
    with pytest.raises(Conflict):
        publish("t", 1, idempotency_key="look alike")


# Several


def test_several_events_are_kept_in_their_order() -> None:
    events = publish_many(Event(topics="demo.a", data=str(number)) for number in range(3))
    assert [event.data for event in events] == ["0", "1", "2"]
    assert [str(event.cursor) for event in events] == sorted(str(event.cursor) for event in events)
    assert kept_data() == ["0", "1", "2"]


async def test_several_events_have_the_limit_of_one_each(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 4}
    events = [Event(topics="demo.a", data=data) for data in ("1234", "12345")]
    with pytest.raises(TooLarge):
        publish_many(events)
    with pytest.raises(TooLarge):
        await apublish_many(events)
    assert await read() == []


def test_one_event_published_twice_is_two() -> None:
    event = Event(topics="demo.a", data="x")
    first, second = publish_many([event, event])
    assert first.cursor != second.cursor


# From anywhere


@pytest.fixture(params=["memory", "redis"])
def log(request: pytest.FixtureRequest, settings: DjangoSettings) -> str:
    if request.param == "redis":
        away(settings, request.getfixturevalue("redis").url)
    return str(request.param)


@pytest.fixture
async def stopped() -> AsyncIterator[None]:
    yield
    await runtime.stop()


@pytest.mark.usefixtures("log", "stopped")
@pytest.mark.parametrize("runs", [True, False])
async def test_from_an_event_loop_with_a_runtime_and_without(*, runs: bool) -> None:
    if runs:
        runtime.start()
    one = await apublish("demo.a", "1", idempotency_key="k")
    again = await apublish("demo.a", "1", idempotency_key="k")
    many = await apublish_many([Event(topics="demo.a", data=str(n)) for n in (2, 3)])
    assert again.cursor == one.cursor
    assert all(event.cursor for event in many)
    assert [entry.data for entry in await read()] == [b"1", b"2", b"3"]


@pytest.mark.usefixtures("log")
def test_no_events_are_none() -> None:
    assert publish_many([]) == []
    assert asyncio.run(apublish_many([])) == []


@pytest.mark.usefixtures("log")
async def test_from_synchronous_code_inside_a_running_loop() -> None:
    assert publish("demo.a", "x").cursor
    assert [entry.data for entry in await read()] == [b"x"]


@pytest.mark.usefixtures("log")
def test_from_many_threads_at_once() -> None:
    with ThreadPoolExecutor(20) as pool:
        events = list(pool.map(lambda n: publish("demo.a", str(n)), range(100), timeout=BOUND * 4))
    assert len({event.cursor for event in events}) == 100
    assert sorted(map(int, kept_data())) == list(range(100))


@pytest.mark.usefixtures("log")
def test_from_one_loop_after_another() -> None:
    for number in range(3):
        assert asyncio.run(apublish("demo.a", str(number))).cursor
    assert kept_data() == ["0", "1", "2"]


def _publish_in_child(answer: Connection) -> None:
    answer.send(publish("demo.a", "child").cursor)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork_each_process_has_connections_of_its_own(
    settings: DjangoSettings, redis: RedisServer
) -> None:
    away(settings, redis.url)
    publish("demo.a", "before")
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe()
    child = context.Process(target=_publish_in_child, args=(writer,))
    child.start()
    try:
        assert reader.poll(BOUND)
        assert Cursor.parse(reader.recv())
        publish("demo.a", "after")
    finally:
        child.kill()
        child.join(BOUND)
        reader.close()
        writer.close()
    assert kept_data() == ["before", "child", "after"]


# While the log is away


@pytest.fixture(params=["nobody listens", "nobody answers"])
def outcome(request: pytest.FixtureRequest, settings: DjangoSettings) -> Iterator[str]:
    """A log that is away, and what is known of an event that was published to it."""
    if request.param == "nobody listens":
        away(settings)
        yield "not_sent"
        return
    with silent_redis() as url:
        away(settings, url)
        yield "unknown"


def test_publishing_fails_soon_and_says_what_is_known(outcome: str) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        publish("demo.a", "x")
    assert time.monotonic() - started < BOUND
    assert caught.value.outcome == outcome


@pytest.mark.parametrize("runs", [True, False])
async def test_publishing_from_a_loop_fails_as_soon(outcome: str, *, runs: bool) -> None:
    if runs:
        runtime.start()
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await apublish("demo.a", "x")
    assert time.monotonic() - started < BOUND
    assert caught.value.outcome == outcome
    await runtime.stop()


async def test_failing_silently_returns_the_event_without_a_cursor(
    settings: DjangoSettings,
) -> None:
    away(settings)
    for event in (
        publish("demo.a", "x", fail_silently=True),
        await apublish("demo.a", "x", fail_silently=True),
    ):
        assert event.data == "x"
        assert event.cursor is None


async def test_several_fail_as_one(settings: DjangoSettings) -> None:
    away(settings)
    events = [Event(topics="demo.a", data="x")]
    with pytest.raises(Unavailable):
        publish_many(events)
    with pytest.raises(Unavailable):
        await apublish_many(events)


def test_once_redis_is_back_publishing_goes_on(
    settings: DjangoSettings, redis: RedisServer
) -> None:
    away(settings, redis.url, PUBLISH_TIMEOUT=0.2)
    publish("demo.a", "before")
    redis.pause()
    try:
        with pytest.raises(Unavailable) as caught:
            publish("demo.a", "lost or not", idempotency_key="k")
    finally:
        redis.resume()
    assert caught.value.outcome == "unknown"
    publish("demo.a", "lost or not", idempotency_key="k")
    assert kept_data() == ["before", "lost or not"]


async def test_a_call_that_is_cancelled_leaves_no_answer_for_the_next(
    settings: DjangoSettings, redis: RedisServer, stopped: None
) -> None:
    away(settings, redis.url)
    assert await runtime.start().wait_ready(timeout=BOUND)
    await apublish("demo.a", "before")
    redis.pause()
    try:
        calls = [asyncio.create_task(apublish("demo.a", str(number))) for number in range(3)]
        await asyncio.wait(calls, timeout=0.05)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls, timeout=BOUND)
    finally:
        redis.resume()
    after = [await apublish("demo.a", f"after {number}") for number in range(5)]
    cursors = {entry.data.decode(): entry.position for entry in await read()}
    for event in after:
        assert Cursor.parse(str(event.cursor)).position == cursors[event.data]


# After commit


@pytest.mark.django_db(transaction=True)
def test_on_commit_an_event_is_published_after_it() -> None:
    with transaction.atomic():
        publish_on_commit("demo.a", "paid", type="note", id="mine")
        assert kept() == []
    (entry,) = kept()
    assert (entry.data, entry.type, entry.id) == (b"paid", b"note", b"mine")


@pytest.mark.django_db(transaction=True)
def test_on_rollback_nothing_is_published() -> None:
    with transaction.atomic():
        publish_on_commit("demo.a", "phantom")
        transaction.set_rollback(True)
    assert kept() == []


@pytest.mark.django_db(transaction=True)
def test_what_a_savepoint_takes_back_is_not_published() -> None:
    with transaction.atomic():
        publish_on_commit("demo.a", "outer")
        with transaction.atomic():
            publish_on_commit("demo.a", "inner")
            transaction.set_rollback(True)
    assert kept_data() == ["outer"]


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_an_event_is_published_at_once() -> None:
    publish_on_commit("demo.a", "now")
    assert kept_data() == ["now"]


@pytest.mark.django_db(transaction=True)
def test_a_log_that_is_away_does_not_fail_what_was_committed(
    settings: DjangoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    away(settings)
    with caplog.at_level(logging.ERROR):
        with transaction.atomic():
            User.objects.create_user("ada")
            publish_on_commit("demo.a", "x")
        publish_on_commit("demo.a", "x")
    assert User.objects.filter(username="ada").exists()
    assert caplog.text.count("Unavailable") >= 2


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_an_event_is_told_before_the_commit() -> None:
    with pytest.raises(Invalid), transaction.atomic():
        publish_on_commit("demo.a", "x", type="open")


# Whose


def test_a_user_has_a_topic_of_their_own() -> None:
    assert user_topic(User(pk=42)) == "user.42"


@pytest.mark.parametrize("user", [User(), AnonymousUser()])
def test_who_was_never_saved_has_none(user: User | AnonymousUser) -> None:
    with pytest.raises(Invalid, match="once they are saved"):
        user_topic(user)
