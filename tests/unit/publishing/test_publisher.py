"""Publishing from Python: in any thread, process or event loop, and once for each key."""

import asyncio
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from pytest_django import Settings as DjangoSettings

import notifications
from notifications import (
    Conflict,
    Event,
    Invalid,
    TooLarge,
    apublish,
    apublish_many,
    publish,
    publish_many,
    user_topic,
)
from notifications.hub import runtime
from notifications.log.cursors import Cursor
from tests.harness.published import published_data, read_published, read_published_in_thread
from tests.harness.servers import RedisServer
from tests.unit.publishing.log_settings import use_redis

pytestmark = pytest.mark.usefixtures("own_log")

DEADLINE_SECONDS = 60.0


def test_the_package_has_every_name_that_it_exports() -> None:
    assert all(hasattr(notifications, name) for name in notifications.__all__)


# One event


def test_an_event_is_returned_with_its_cursor() -> None:
    event = publish("demo.a", {"n": 1}, type="note", id="mine")
    assert (event.topics, event.data, event.type, event.id) == (
        ("demo.a",),
        {"n": 1},
        "note",
        "mine",
    )
    (entry,) = read_published_in_thread()
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
    (entry,) = read_published_in_thread()
    assert entry.topics == ("demo.a", "demo.b")


def test_data_is_encoded_as_django_encodes_json() -> None:
    publish("demo.a", {"price": Decimal("1.10")})
    assert published_data() == ['{"price":"1.10"}']


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
def test_arguments_that_make_no_event_raise_invalid(
    arguments: dict[str, Any], field: str, *, silently: bool
) -> None:
    with pytest.raises(Invalid) as caught:
        publish(**{"topic": "demo.a", "data": "x", **arguments}, fail_silently=silently)
    assert caught.value.extensions["field"] == field
    assert read_published_in_thread() == []


def test_a_too_large_event_is_refused(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 4}
    assert publish("demo.a", "1234").cursor
    with pytest.raises(TooLarge):
        publish("demo.a", "12345")


def test_a_repeated_key_publishes_nothing_and_returns_the_first_event() -> None:
    first, again = [publish("demo.a", "x", idempotency_key="k") for _ in range(2)]
    assert (again.id, again.cursor) == (first.id, first.cursor)
    assert published_data() == ["x"]


@pytest.mark.parametrize("other", [{"data": "y"}, {"type": "note"}, {"id": "mine"}])
def test_a_key_that_was_used_for_another_event_is_a_conflict(other: dict[str, Any]) -> None:
    publish("demo.a", "x", idempotency_key="k")
    with pytest.raises(Conflict):
        publish(**{"topic": "demo.a", "data": "x", **other}, idempotency_key="k")
    assert published_data() == ["x"]


def test_text_and_json_that_look_alike_are_not_the_same_event() -> None:
    publish("t", "1", idempotency_key="look alike")
    with pytest.raises(Conflict):
        publish("t", 1, idempotency_key="look alike")


# Several


def test_several_events_are_published_in_their_order() -> None:
    events = publish_many(Event(topics="demo.a", data=str(number)) for number in range(3))
    assert [event.data for event in events] == ["0", "1", "2"]
    assert [str(event.cursor) for event in events] == sorted(str(event.cursor) for event in events)
    assert published_data() == ["0", "1", "2"]


async def test_one_too_large_event_among_several_refuses_them_all(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 4}
    events = [Event(topics="demo.a", data=data) for data in ("1234", "12345")]
    with pytest.raises(TooLarge):
        publish_many(events)
    with pytest.raises(TooLarge):
        await apublish_many(events)
    assert await read_published() == []


def test_one_event_published_twice_is_two_events() -> None:
    event = Event(topics="demo.a", data="x")
    first, second = publish_many([event, event])
    assert first.cursor != second.cursor


# From anywhere


@pytest.fixture(params=["memory", "redis"])
def log(request: pytest.FixtureRequest, settings: DjangoSettings) -> str:
    if request.param == "redis":
        use_redis(settings, request.getfixturevalue("redis").url)
    return str(request.param)


@pytest.mark.usefixtures("log", "runtime_ends")
@pytest.mark.parametrize("runs", [True, False])
async def test_from_an_event_loop_with_a_runtime_and_without(*, runs: bool) -> None:
    if runs:
        runtime.start()
    first = await apublish("demo.a", "1", idempotency_key="k")
    again = await apublish("demo.a", "1", idempotency_key="k")
    many = await apublish_many([Event(topics="demo.a", data=str(n)) for n in (2, 3)])
    assert again.cursor == first.cursor
    assert all(event.cursor for event in many)
    assert [entry.data for entry in await read_published()] == [b"1", b"2", b"3"]


@pytest.mark.usefixtures("log")
def test_publishing_no_events_returns_none() -> None:
    assert publish_many([]) == []
    assert asyncio.run(apublish_many([])) == []


@pytest.mark.usefixtures("log")
async def test_from_synchronous_code_inside_a_running_loop() -> None:
    assert publish("demo.a", "x").cursor
    assert [entry.data for entry in await read_published()] == [b"x"]


@pytest.mark.usefixtures("log")
def test_from_many_threads_at_once() -> None:
    with ThreadPoolExecutor(20) as pool:
        events = list(
            pool.map(lambda n: publish("demo.a", str(n)), range(100), timeout=DEADLINE_SECONDS * 4)
        )
    assert len({event.cursor for event in events}) == 100
    assert sorted(map(int, published_data())) == list(range(100))


@pytest.mark.usefixtures("log")
def test_from_one_loop_after_another() -> None:
    for number in range(3):
        assert asyncio.run(apublish("demo.a", str(number))).cursor
    assert published_data() == ["0", "1", "2"]


def _publish_in_child(answer: Connection) -> None:
    answer.send(publish("demo.a", "child").cursor)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork_each_process_has_its_own_connections(
    settings: DjangoSettings, redis: RedisServer
) -> None:
    use_redis(settings, redis.url)
    publish("demo.a", "before")
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe()
    child = context.Process(target=_publish_in_child, args=(writer,))
    child.start()
    try:
        assert reader.poll(DEADLINE_SECONDS)
        assert Cursor.parse(reader.recv())
        publish("demo.a", "after")
    finally:
        child.kill()
        child.join(DEADLINE_SECONDS)
        reader.close()
        writer.close()
    assert published_data() == ["before", "child", "after"]


# Topics of users


def test_a_user_has_their_own_topic() -> None:
    assert user_topic(User(pk=42)) == "user.42"


@pytest.mark.parametrize("user", [User(), AnonymousUser()])
def test_a_user_who_was_never_saved_has_no_topic(user: User | AnonymousUser) -> None:
    with pytest.raises(Invalid, match="once they are saved"):
        user_topic(user)
