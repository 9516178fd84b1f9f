"""The tools for tests of applications: the outbox, the mixin, the fixture, and the reader."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any
from unittest.mock import ANY

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.test import (
    AsyncClient,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from pytest_django import Settings as DjangoSettings

from notifications import Event, apublish, publish, publish_many, publish_on_commit, user_topic
from notifications.asgi.responses import EventStreamResponse
from notifications.hub import runtime
from notifications.testing import OutboxMixin, assert_published, empty_log, outbox, read_events
from notifications.testing.captured import Outbox
from tests.harness.servers import free_port

pytest_plugins = ["notifications.testing.pytest_plugin"]

# Nothing listens on the port: an operation that needs Redis fails.
NO_REDIS = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "PUBLIC_TOPICS": ["news"]}


@pytest.fixture(autouse=True, scope="module")
def no_redis() -> Iterator[None]:
    with override_settings(CARILLON=NO_REDIS):
        yield


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    async with asyncio.timeout(20):
        while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert runtime.current() is None


# The outbox: the events that were published


def test_it_holds_the_published_events_in_order_with_all_their_fields(
    carillon_outbox: Outbox,
) -> None:
    first = publish("news", {"text": "Hello"}, type="greeting", id="a")
    publish_many([Event(topics=["a", "b"], data="text", retry=500)])
    assert len(outbox) == 2
    assert carillon_outbox[0] == first == outbox[:1][0]
    assert (outbox[0].type, outbox[0].data, outbox[0].id) == ("greeting", {"text": "Hello"}, "a")
    assert (outbox[1].topics, outbox[1].data, outbox[1].retry) == (("a", "b"), "text", 500)
    assert [event.type for event in outbox] == ["greeting", None]


@pytest.mark.parametrize("_", [1, 2])
@pytest.mark.usefixtures("carillon_outbox")
def test_it_is_empty_when_a_test_begins(_: int) -> None:
    assert outbox == []
    assert not outbox
    publish("news", 1)
    assert outbox != []
    assert "data=1" in repr(outbox)


@pytest.mark.usefixtures("carillon_outbox")
async def test_publishing_needs_no_thread() -> None:
    before = threading.active_count()
    publish("news", 1)
    await apublish("news", 2)
    assert threading.active_count() == before
    assert [event.data for event in outbox] == [1, 2]


def test_without_a_log_in_memory_the_outbox_names_what_to_use() -> None:
    with pytest.raises(RuntimeError, match=r"'redis'.*OutboxMixin or the fixture carillon_outbox"):
        len(outbox)


def test_the_settings_are_restored_when_the_test_has_ended(settings: DjangoSettings) -> None:
    with empty_log():
        assert settings.CARILLON == {**NO_REDIS, "LOG": "memory"}
    assert settings.CARILLON == NO_REDIS


def test_in_tests_a_log_in_memory_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(CARILLON={"KEY_PREFIX": "never-used-before"}), empty_log():
        publish("news", 1)
    assert caplog.records == []


# The assertion


@pytest.mark.usefixtures("carillon_outbox")
def test_an_event_matches_by_topic_data_type_or_any_of_them() -> None:
    publish(["news", "sport"], {"price": Decimal("1.50"), "tags": ("a", "b")})
    publish("news", "text", type="greeting")
    assert assert_published() == list(outbox)
    assert assert_published("sport") == [outbox[0]]
    assert_published("news", count=2)
    assert_published(data="text", type="greeting")
    assert_published(data={"price": Decimal("1.50"), "tags": ("a", "b")}, type=None, count=1)
    assert_published(data={"price": "1.50", "tags": ANY})
    assert_published(topic="weather", count=0)


@pytest.mark.usefixtures("carillon_outbox")
@pytest.mark.parametrize(
    "criteria",
    [
        {"topic": "new"},
        {"data": {"text": "Hello"}},
        {"data": '{"text": "Paid"}'},
        {"data": object()},
        {"type": None},
        {"type": "pai"},
        {"topic": "sport", "type": "paid"},
        {"count": 0},
        {"topic": "news", "count": 2},
    ],
)
def test_an_event_that_was_not_published_fails_and_the_published_ones_are_listed(
    criteria: dict[str, Any],
) -> None:
    publish("news", {"text": "Paid"}, type="paid")
    with pytest.raises(AssertionError, match=r"topics=\['news'\] type='paid' data={'text': 'Paid'"):
        assert_published(**criteria)


@pytest.mark.usefixtures("carillon_outbox")
def test_a_failure_names_the_criteria_and_an_empty_list() -> None:
    with pytest.raises(AssertionError) as failure:
        assert_published("news", {"a": 1}, type="x", count=3)
    assert str(failure.value) == (
        "0 of the events published are topic='news', data={'a': 1}, type='x'; expected 3.\n"
        "Published (0):"
    )


# The mixin


class OrderTests(OutboxMixin, TestCase):
    user: User

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("ada")
        publish("news", "from setUpTestData")

    def test_an_event_on_commit_is_published_by_the_commit(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            publish_on_commit(user_topic(self.user), {"text": "Paid"})
            assert outbox == []
        assert_published(user_topic(self.user), {"text": "Paid"}, count=1)

    def test_a_rolled_back_event_is_not_published(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            publish_on_commit("news", 1)
            transaction.set_rollback(True)
        assert_published(count=0)

    @override_settings(CARILLON={"LOG": "memory", "PUBLIC_TOPICS": ["weather"]})
    def test_settings_of_one_test_have_an_empty_log_too(self) -> None:
        assert outbox == []
        publish("weather", 1)

    @override_settings(CARILLON={"LOG": "memory", "PUBLIC_TOPICS": ["weather"]})
    def test_settings_of_another_test_have_an_empty_log_too(self) -> None:
        self.test_settings_of_one_test_have_an_empty_log_too()

    async def test_a_user_gets_the_events_of_their_topic(self) -> None:
        client = AsyncClient()
        await client.aforce_login(self.user)
        response = await client.get("/events/")
        await apublish(user_topic(self.user), {"text": "Paid"})
        [event] = await read_events(response, 1)
        assert event.data == '{"text":"Paid"}'
        assert asyncio.all_tasks() == {asyncio.current_task()}


@override_settings(CARILLON={**NO_REDIS, "PUBLIC_TOPICS": ["weather"]})
class OverriddenTests(OutboxMixin, SimpleTestCase):
    async def test_settings_of_the_class_apply_and_the_log_is_in_memory(self) -> None:
        response = await AsyncClient().get("/events/?topic=weather")
        publish("weather", "sunny")
        assert [event.data for event in await read_events(response, 1)] == ["sunny"]


class CommitTests(OutboxMixin, TransactionTestCase):
    def test_a_real_commit_publishes(self) -> None:
        with transaction.atomic():
            publish_on_commit("news", 1)
            assert outbox == []
        assert_published("news", 1)


# The reader


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_a_number_of_events_is_awaited(async_client: AsyncClient) -> None:
    publish("news", "before")
    response = await async_client.get("/events/?topic=news")
    for text in ("a", "b", "c"):
        publish("news", {"text": text}, type="greeting")
    events = await read_events(response, 2)
    assert [event.data for event in events] == ['{"text":"a"}', '{"text":"b"}']
    assert {event.type for event in events} == {"greeting"}
    assert events[0].id == outbox[1].cursor


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_events_are_iterated_over_until_the_test_breaks(
    async_client: AsyncClient,
) -> None:
    response = await async_client.get("/events/?topic=news")
    publish("news", 0)
    async for event in read_events(response):
        if event.data == "3":
            break
        await apublish("news", int(event.data) + 1)


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_the_services_own_signals_are_read_on_request(
    async_client: AsyncClient,
) -> None:
    response = await async_client.get("/events/?topic=news")
    [opening] = await read_events(response, 1, signals=True)
    assert opening.type == "stream.cursor"


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_two_responses_are_read_one_after_the_other_or_together(
    async_client: AsyncClient,
) -> None:
    first, second, third = [await async_client.get("/events/?topic=news") for _ in range(3)]
    publish("news", 1)
    assert [event.data for event in await read_events(first, 1)] == ["1"]
    left, right = await asyncio.gather(read_events(second, 1), read_events(third, 1))
    assert left == right


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_a_missing_event_fails_in_time_with_advice(async_client: AsyncClient) -> None:
    response = await async_client.get("/events/?topic=news")
    publish("news", 1)
    with pytest.raises(AssertionError, match=r"within 0\.05 seconds, after 1\..*published after"):
        await read_events(response, 2, timeout=0.05)


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_a_stream_that_ends_too_early_fails(async_client: AsyncClient) -> None:
    response = await async_client.get("/events/?topic=news")
    publish("news", "only")
    events = read_events(response)
    assert (await anext(events)).data == "only"
    await runtime.stop()
    assert [event async for event in events] == []
    response = await async_client.get("/events/?topic=news")
    reading = asyncio.ensure_future(read_events(response, 1))
    async with asyncio.timeout(20):
        while not runtime.start().hub.subscribers:  # noqa: ASYNC110 - until it has joined
            await asyncio.sleep(0)
    await runtime.stop()
    with pytest.raises(AssertionError, match=r"The stream ended; of 1 events it had \[\]"):
        await reading


@pytest.mark.usefixtures("carillon_outbox")
async def test_another_response_fails_with_its_status_and_content(
    async_client: AsyncClient,
) -> None:
    response = await async_client.get("/events/?topic=secret")
    with pytest.raises(AssertionError, match=r"no event stream, but 403: .*'secret'"):
        await read_events(response, 1)
    await runtime.stop()
    with pytest.raises(AssertionError, match="but 200: hello"):
        read_events(HttpResponse("hello"))


@pytest.mark.usefixtures("carillon_outbox", "no_task_is_left")
async def test_a_response_needs_no_client() -> None:
    response = EventStreamResponse(["news"])
    await runtime.start().wait_ready(timeout=20)
    events = read_events(response, signals=True)
    assert (await anext(events)).type == "stream.cursor"
    publish("news", 1)
    assert (await anext(events)).data == "1"
    await events.aclose()
