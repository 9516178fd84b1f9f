"""`GET /events/`: topics, permissions, the request, temporary refusals, and the stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import AsyncClient, Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications import apublish
from notifications.hub import runtime
from notifications.log.cursors import Cursor
from notifications.sse import Decoder
from notifications.views import events
from tests.harness.django_client import answer, post, reading, subscribed
from tests.harness.servers import RedisServer, free_port

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

NOWHERE = "redis://127.0.0.1:{port}/0"


async def refused(client: AsyncClient, target: str, status: int, code: str, **headers: str) -> str:
    """The detail of the problem with which the request is refused."""
    response = answer(await client.get(target, headers=headers))
    assert response.is_problem(status, code), response
    detail: str = response.body["detail"]
    return detail


# Topics


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "Name at least one topic"),
        ("topic=", "cannot be empty"),
        ("topics=demo.a,demo.b", "no parameter topics: write ?topic=first&topic=second"),
        ("topic=demo.*", "is a pattern, and a stream names its topics"),
        ("topic=demo.a&topic=*", "is a pattern"),
        ("topic=demo.a&topic=", "cannot be empty"),
        ("topic=demo.%0A", "control character"),
        ("topic=demo.%00", "control character"),
        ("topic=demo.%C2%85", "control character"),
        ("topic=demo." + "a" * 251, "at most 255 bytes"),
        ("topic=demo." + "%C3%A9" * 126, "at most 255 bytes"),
        ("&".join(f"topic=demo.{i}" for i in range(101)), "At most 100 topics"),
        ("topic=demo.%FF", "not valid UTF-8"),
        ("topic=demo.a&x=%80", "not valid UTF-8"),
        ("topic=demo.%ED%A0%80", "not valid UTF-8"),
    ],
)
async def test_an_invalid_topic_is_a_bad_request(
    async_client: AsyncClient, query: str, why: str
) -> None:
    assert why in await refused(async_client, f"/events/?{query}", 400, "bad-request")


@pytest.mark.parametrize(
    "topic", ["demo.a", "demo." + "a" * 250, "demo.é", "demo.a b", "demo.a&b=c", "demo.%"]
)
async def test_any_valid_topic_is_served(async_client: AsyncClient, topic: str) -> None:
    async with subscribed(async_client, topic) as stream:
        assert (await stream.next()).type == "stream.cursor"
        await apublish(topic, "x")
        assert await stream.data(1) == ["x"]


async def test_a_stream_may_have_a_hundred_topics(async_client: AsyncClient) -> None:
    topics = [f"demo.{i}" for i in range(100)]
    async with subscribed(async_client, *topics) as stream:
        await stream.next()
        for topic in topics:
            await apublish(topic, topic)
        assert await stream.data(100) == topics


async def test_a_topic_named_twice_is_sent_once(async_client: AsyncClient) -> None:
    async with subscribed(async_client, "demo.a", "demo.a") as stream:
        await stream.next()
        await apublish("demo.a", "first")
        await apublish("demo.a", "second")
        assert await stream.data(2) == ["first", "second"]


async def test_topics_are_case_sensitive(async_client: AsyncClient) -> None:
    async with subscribed(async_client, "demo.a") as stream:
        await stream.next()
        await apublish("demo.A", "other")
        await apublish("demo.a", "own")
        assert await stream.data(1) == ["own"]


async def status_of(target: str) -> int:
    response = await AsyncClient().head(target)
    await runtime.stop()
    return response.status_code


NAMES = st.sampled_from(["topic", "since", "lastEventId", "envelope", "", "x"])
VALUES = st.binary(max_size=20) | st.sampled_from([b"demo.a", b"all", b"user.1", b"+", b"%00"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
@hypothesis_settings(max_examples=150, deadline=None)
def test_no_query_causes_a_server_error(parameters: list[tuple[str, bytes]]) -> None:
    query = "&".join(f"{name}={quote(value, safe='=&%+')}" for name, value in parameters)
    assert async_to_sync(status_of)(f"/events/?{query}") in {200, 400, 403}


# Permissions


@pytest.mark.parametrize("topic", ["news", "news.x", "demo.x"])
async def test_anybody_may_subscribe_under_a_public_prefix(
    async_client: AsyncClient, settings: DjangoSettings, topic: str
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLIC_TOPICS": ["news", "demo."]}
    async with subscribed(async_client, topic) as stream:
        assert (await stream.next()).type == "stream.cursor"


@pytest.mark.parametrize("topic", ["newsletter", "demo", "user.1", "user.1.x", "orders.42"])
async def test_an_anonymous_visitor_may_subscribe_to_nothing_else(
    async_client: AsyncClient, settings: DjangoSettings, topic: str
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLIC_TOPICS": ["news", "demo."]}
    detail = await refused(async_client, f"/events/?topic={topic}", 403, "forbidden")
    assert topic in detail


@pytest.mark.django_db(transaction=True)
async def test_a_user_may_subscribe_to_their_own_topics_only(async_client: AsyncClient) -> None:
    ada = await User.objects.acreate_user("ada")
    eve = await User.objects.acreate_user("eve")
    await async_client.aforce_login(ada)
    async with subscribed(async_client, f"user.{ada.pk}.orders", f"user.{ada.pk}") as stream:
        await stream.next()
        await apublish(f"user.{ada.pk}.orders", "paid")
        assert await stream.data(1) == ["paid"]
    for topic in f"user.{eve.pk}", f"user.{eve.pk}.x", f"user.{ada.pk}1":
        await refused(async_client, f"/events/?topic={topic}", 403, "forbidden")


@pytest.mark.django_db(transaction=True)
async def test_a_user_who_names_no_topic_gets_their_own(async_client: AsyncClient) -> None:
    ada = await User.objects.acreate_user("ada")
    await async_client.aforce_login(ada)
    async with subscribed(async_client) as stream:
        await stream.next()
        await apublish(f"user.{ada.pk}", "for you")
        assert await stream.data(1) == ["for you"]


# The request


@pytest.mark.parametrize("path", ["/events/", "/events"])
@pytest.mark.parametrize("method", ["get", "head"])
async def test_the_headers_forbid_caching_and_buffering(
    async_client: AsyncClient, path: str, method: str
) -> None:
    response = await getattr(async_client, method)(f"{path}?topic=demo.a")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache, no-store, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("path", ["/events/", "/events"])
async def test_a_url_streams_with_and_without_its_slash(
    async_client: AsyncClient, path: str
) -> None:
    async with reading(await async_client.get(f"{path}?topic=demo.a")) as stream:
        assert (await stream.next()).type == "stream.cursor"


async def test_head_ends_without_a_body(async_client: AsyncClient) -> None:
    response = await async_client.head("/events/?topic=demo.a")
    assert not response.streaming
    assert response.content == b""


async def test_head_is_refused_as_get_is(async_client: AsyncClient) -> None:
    assert (await async_client.head("/events/?topic=orders.1")).status_code == 403


async def test_options_ends_and_names_the_methods(async_client: AsyncClient) -> None:
    response = await async_client.options("/events/")
    assert response.status_code == 204
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
async def test_other_methods_are_refused_with_a_list_of_the_allowed_ones(method: str) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    response = answer(await getattr(client, method)("/events/?topic=demo.a"))
    assert response.is_problem(405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "accept",
    [
        "text/event-stream",
        "*/*",
        "text/*",
        "text/html, */*;q=0.1",
        "application/json, text/event-stream;q=0.5",
        "text/event-stream; charset=utf-8",
    ],
)
async def test_accept_may_allow_a_stream_in_many_ways(
    async_client: AsyncClient, accept: str
) -> None:
    response = await async_client.head("/events/?topic=demo.a", headers={"Accept": accept})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/json",
        "application/*",
        "text/event-stream;q=0",
        "text/event-stream;q=0, */*",
        "text/*;q=0, */*",
        "*/*;q=0",
    ],
)
async def test_accept_may_rule_the_stream_out(async_client: AsyncClient, accept: str) -> None:
    target = "/events/?topic=demo.a"
    detail = await refused(async_client, target, 406, "not-acceptable", Accept=accept)
    assert "text/event-stream" in detail


def target_of(size: int) -> str:
    target = "/events/?topic=demo.a&x="
    return target + "x" * (size - len(target))


async def test_a_target_has_at_most_8000_bytes(async_client: AsyncClient) -> None:
    assert (await async_client.head(target_of(8000))).status_code == 200
    detail = await refused(async_client, target_of(8001), 414, "uri-too-long")
    assert "8001" in detail


async def test_more_parameters_than_django_accepts_are_a_bad_request(
    async_client: AsyncClient,
) -> None:
    await refused(async_client, "/events/?" + "a&" * 1500, 400, "bad-request")


def test_under_wsgi_the_stream_is_refused_instead_of_hanging(client: Client) -> None:
    response = answer(client.get("/events/?topic=demo.a"))
    assert response.is_problem(501, "needs-asgi")
    assert "ASGI" in response.body["detail"]


# Temporary refusals, which are sent in the stream


async def closing_reason(response: Any) -> str:
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    (event,) = Decoder().feed(await anext(aiter(response.streaming_content)))
    assert event.type == "stream.closing"
    assert event.id == ""
    assert event.retry is not None
    assert 2_000 <= event.retry <= 5_000
    reason: str = json.loads(event.data)["reason"]
    return reason


async def test_while_the_window_is_not_loaded_the_stream_closes_at_once(
    async_client: AsyncClient, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CARILLON = {
        **settings.CARILLON,
        "LOG": "redis",
        "REDIS_URL": NOWHERE.format(port=free_port()),
    }
    monkeypatch.setattr(events, "READY_TIMEOUT_SECONDS", 0.01)
    assert await closing_reason(await async_client.get("/events/?topic=demo.a")) == "starting"


async def test_while_the_process_drains_the_stream_closes_at_once(
    async_client: AsyncClient,
) -> None:
    running = runtime.start()
    assert await running.wait_ready(timeout=20)
    await running.drain(over=0)
    assert await closing_reason(await async_client.get("/events/?topic=demo.a")) == "draining"


async def test_while_sessions_cannot_be_read_the_stream_closes_at_once(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr("notifications.access.identities.session.authenticate_session", away)
    response = await async_client.get("/events/?topic=user.1")
    assert await closing_reason(response) == "user_unknown"


async def test_public_topics_need_no_database(async_client: AsyncClient) -> None:
    # This test has no access to a database: a query for the session would raise.
    async_client.cookies["sessionid"] = "s" * 32
    async with subscribed(async_client, "demo.a") as stream:
        assert (await stream.next()).type == "stream.cursor"


async def test_a_process_that_stops_closes_its_streams_with_that_reason(
    async_client: AsyncClient,
) -> None:
    async with subscribed(async_client, "demo.a") as stream:
        await stream.next()
        closing, _ = await asyncio.gather(stream.next(), runtime.stop())
        assert (closing.type, json.loads(closing.data)) == (
            "stream.closing",
            {"reason": "stopping"},
        )


# The stream


async def test_a_stream_opens_with_its_cursor_and_a_retry_time(
    async_client: AsyncClient,
) -> None:
    published = await apublish("demo.other", "before")
    async with subscribed(async_client, "demo.a") as stream:
        opening = await stream.next()
    assert (opening.type, opening.data, opening.id) == ("stream.cursor", "{}", published.cursor)
    assert opening.retry is not None
    assert 2_000 <= opening.retry <= 5_000


async def test_an_event_has_its_cursor_and_the_type_of_its_publisher(
    async_client: AsyncClient,
) -> None:
    async with subscribed(async_client, "demo.a") as stream:
        await stream.next()
        plain = await apublish("demo.a", {"a": [1, "é"]})
        typed = await apublish("demo.a", "two\nlines", type="note")
        first, second = await stream.next(), await stream.next()
    assert (first.type, first.data, first.id) == ("message", '{"a":[1,"é"]}', plain.cursor)
    assert (second.type, second.data, second.id) == ("note", "two\nlines", typed.cursor)


async def test_an_event_of_two_topics_is_sent_once(async_client: AsyncClient) -> None:
    async with subscribed(async_client, "demo.a", "demo.b") as stream:
        await stream.next()
        await apublish(["demo.a", "demo.b"], "once")
        await apublish("demo.b", "then")
        assert await stream.data(2) == ["once", "then"]


async def test_an_envelope_holds_everything_but_the_topics_of_others(
    async_client: AsyncClient,
) -> None:
    async with subscribed(async_client, "demo.a", parameters=[("envelope", "1")]) as stream:
        await stream.next()
        published = await apublish(["demo.a", "private.b"], {"n": 1}, type="note", id="the-first")
        event = await stream.next()
    envelope = json.loads(event.data)
    assert (event.type, event.id) == ("message", published.cursor)
    assert envelope.pop("time").endswith("+00:00")
    assert envelope == {"id": "the-first", "topics": ["demo.a"], "type": "note", "data": {"n": 1}}


@pytest.mark.parametrize("data", ["text", "", "two\nlines", None, 1.5, [], {"data": "x"}])
async def test_an_envelope_preserves_the_data(async_client: AsyncClient, data: Any) -> None:
    async with subscribed(async_client, "demo.a", parameters=[("envelope", "1")]) as stream:
        await stream.next()
        await apublish("demo.a", data)
        assert json.loads((await stream.next()).data)["data"] == data


@pytest.mark.parametrize("value", ["", "0"])
async def test_an_envelope_can_be_declined(async_client: AsyncClient, value: str) -> None:
    async with subscribed(async_client, "demo.a", parameters=[("envelope", value)]) as stream:
        await stream.next()
        await apublish("demo.a", "bare")
        assert await stream.data(1) == ["bare"]


async def test_a_client_resumes_after_its_cursor(async_client: AsyncClient) -> None:
    published = [await apublish("demo.a", str(number)) for number in range(3)]
    cursor = str(published[0].cursor)
    async with subscribed(async_client, "demo.a", headers={"Last-Event-ID": cursor}) as stream:
        assert (await stream.next()).id == cursor
        assert await stream.data(2) == ["1", "2"]


@pytest.mark.parametrize("since", ["all", "earliest", "10m", "2020-01-01T00:00:00Z"])
async def test_since_requests_history(async_client: AsyncClient, since: str) -> None:
    for number in range(3):
        await apublish("demo.a", str(number))
    async with subscribed(async_client, "demo.a", parameters=[("since", since)]) as stream:
        assert await stream.data(3) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("not a cursor", "unknown"),
        ("17", "unknown"),
        (str(Cursor.parse("1.aaaaaaaaaaaa.1-1")), "log_lost"),
    ],
)
async def test_a_cursor_is_never_an_http_error(
    async_client: AsyncClient, cursor: str, reason: str
) -> None:
    head = (await apublish("demo.a", "before")).cursor
    async with subscribed(async_client, "demo.a", headers={"Last-Event-ID": cursor}) as stream:
        reset = await stream.next()
        assert (reset.type, reset.id) == ("stream.reset", head)
        assert json.loads(reset.data)["reason"] == reason
        await apublish("demo.a", "after")
        assert await stream.data(1) == ["after"]


async def test_only_an_invalid_since_is_a_bad_request(
    async_client: AsyncClient,
) -> None:
    detail = await refused(async_client, "/events/?topic=demo.a&since=soon", 400, "bad-request")
    assert "'soon'" in detail
    assert "10m" in detail


# Redis


@pytest.fixture
async def in_redis(redis: RedisServer, settings: DjangoSettings) -> AsyncIterator[RedisServer]:
    settings.CARILLON = {**settings.CARILLON, "LOG": "redis", "REDIS_URL": redis.url}
    yield redis
    await runtime.stop()


async def test_a_posted_event_is_in_redis_and_in_the_stream(
    async_client: AsyncClient, in_redis: RedisServer
) -> None:
    first = await post(async_client, {"topic": "demo.a", "data": "history"})
    async with subscribed(async_client, "demo.a", parameters=[("since", "all")]) as stream:
        assert await stream.data(1) == ["history"]
        second = await post(async_client, {"topic": "demo.a", "data": {"live": True}})
        event = await stream.next()
    assert (first.status, second.status) == (201, 201)
    assert (event.data, event.id) == ('{"live":true}', second.body["cursor"])
