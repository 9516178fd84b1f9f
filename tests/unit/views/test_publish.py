"""`POST /publish/`: who may, what is kept, what is answered, and what is refused."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.http import HttpRequest
from django.test import AsyncClient, Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.asgi import get_asgi_application
from notifications.hub import runtime
from notifications.views.bodies import Publications, publications_of
from tests.harness.django_client import (
    AUTHORIZED,
    DEADLINE,
    FORM,
    JSON,
    NDJSON,
    Answer,
    answer,
    post,
    subscribed,
)
from tests.harness.servers import PUBLISH_KEY, RedisServer, free_port
from tests.harness.silent_redis import silent_redis

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

EVENT = {"topic": "demo.a", "data": "x"}
ANOTHER_KEY = "another-key-for-the-tests"


async def kept(client: AsyncClient, *topics: str) -> list[str]:
    """The data of all that the log has of these topics, by publishing one more."""
    await post(client, {"topic": topics[0], "data": "the end"})
    found: list[str] = []
    async with subscribed(client, *topics, parameters=[("since", "all")]) as stream:
        while (found or [""])[-1] != "the end":
            found += await stream.data(1)
    return found[:-1]


async def refused(
    client: AsyncClient, body: Any, status: int, code: str, **options: Any
) -> dict[str, Any]:
    """The problem that the body is answered with."""
    told = await post(client, body, **options)
    assert told.is_problem(status, code), told
    problem: dict[str, Any] = told.body
    return problem


# What is kept


@pytest.mark.parametrize("path", ["/publish/", "/publish"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"topic": "demo.a", "data": "x"}', JSON),
        (b"topic=demo.a&data=x", FORM),
        (
            b'--b\r\nContent-Disposition: form-data; name="topic"\r\n\r\ndemo.a\r\n'
            b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
)
async def test_an_event_is_kept_in_each_form(
    async_client: AsyncClient, path: str, body: bytes, content_type: str
) -> None:
    told = await post(async_client, body, content_type=content_type, path=path)
    assert told.status == 201
    assert told.headers["content-type"] == "application/json"
    assert set(told.body) == {"id", "cursor", "topics"}
    assert told.body["id"].startswith("urn:uuid:")
    assert told.body["topics"] == ["demo.a"]
    assert await kept(async_client, "demo.a") == ["x"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'[{"topic":"demo.a","data":"1"},{"topic":"demo.b","data":"2"}]', JSON),
        (b'{"topic":"demo.a","data":"1"}\n{"topic":"demo.b","data":"2"}\n', NDJSON),
    ],
)
async def test_a_batch_is_kept_in_its_order_and_answered_in_it(
    async_client: AsyncClient, body: bytes, content_type: str
) -> None:
    told = await post(async_client, body, content_type=content_type)
    assert told.status == 201
    assert list(told.body) == ["events"]
    assert [event["topics"] for event in told.body["events"]] == [["demo.a"], ["demo.b"]]
    assert await kept(async_client, "demo.a", "demo.b") == ["1", "2"]


async def test_the_cursor_that_is_answered_is_the_one_that_streams_carry(
    async_client: AsyncClient,
) -> None:
    async with subscribed(async_client, "demo.a") as stream:
        await stream.next()
        told = await post(async_client, {**EVENT, "type": "note", "id": "mine", "retry": 5000})
        said = await stream.next()
    assert (said.id, said.type, said.retry) == (told.body["cursor"], "note", 5000)
    assert told.body["id"] == "mine"


async def test_an_event_of_several_topics_is_one_event(async_client: AsyncClient) -> None:
    told = await post(async_client, {"topic": ["demo.a", "demo.b", "demo.a"], "data": "once"})
    assert told.body["topics"] == ["demo.a", "demo.b"]
    assert isinstance(told.body["cursor"], str)
    assert await kept(async_client, "demo.a", "demo.b") == ["once"]


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ("", ""),
        ("a\0b", "a\0b"),
        ("a\rb\r\nc", "a\nb\nc"),
        (None, "null"),
        ([], "[]"),
        ({"é": [1, {"b": None}]}, '{"é":[1,{"b":null}]}'),
        (1.5, "1.5"),
    ],
)
async def test_data_is_sent_as_text_or_compact_json(
    async_client: AsyncClient, data: Any, sent: str
) -> None:
    assert (await post(async_client, {"topic": "demo.a", "data": data})).status == 201
    assert await kept(async_client, "demo.a") == [sent]


async def test_publishing_works_under_wsgi_too(client: Client) -> None:
    def publish() -> Answer:
        return answer(client.post("/publish/", EVENT, content_type=JSON, headers=AUTHORIZED))

    assert (await asyncio.to_thread(publish)).status == 201


async def test_a_large_batch_is_read_in_a_thread_and_leaves_the_loop_to_the_streams(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def reading(request: HttpRequest) -> Publications:
        threads.append(threading.current_thread())
        return publications_of(request)

    monkeypatch.setattr("notifications.views.publish.publications_of", reading)
    await post(async_client, EVENT)
    assert (await post(async_client, [{**EVENT, "data": "x" * 40_000}] * 2)).status == 201
    small, large = threads
    assert small is threading.current_thread()
    assert large is not threading.current_thread()


# What is refused


async def test_one_invalid_event_refuses_its_batch(async_client: AsyncClient) -> None:
    problem = await refused(
        async_client, [EVENT, {"topic": "demo.a"}, {**EVENT, "type": "open"}], 422, "invalid"
    )
    assert [(error["index"], error["field"]) for error in problem["errors"]] == [
        (1, "data"),
        (2, "type"),
    ]
    assert all(error["reason"] for error in problem["errors"])
    assert await kept(async_client, "demo.a") == []


async def test_an_unknown_field_is_refused_by_its_name(async_client: AsyncClient) -> None:
    problem = await refused(async_client, {**EVENT, "event": "note"}, 422, "invalid")
    (error,) = problem["errors"]
    assert error["field"] == "event"
    assert "event" in problem["detail"]


@pytest.mark.parametrize("type_", ["stream.cursor", "stream.x", "open", "error", "a\nb", "a\0b"])
async def test_a_type_that_is_not_the_publishers_to_use_is_refused(
    async_client: AsyncClient, type_: str
) -> None:
    problem = await refused(async_client, {**EVENT, "type": type_}, 422, "invalid")
    assert problem["errors"][0]["field"] == "type"


@pytest.mark.parametrize(
    "body", [b" ", b"{", b"nonsense", b'{"topic": "demo.a", "data": NaN}', b"[" * 100_000]
)
async def test_what_is_no_json_is_a_bad_request(async_client: AsyncClient, body: bytes) -> None:
    await refused(async_client, body, 400, "bad-request")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"topic=demo.a&data=x&" + b"a=1&" * 1_500, FORM),
        (b"nothing of the kind", "multipart/form-data"),
        (b"topic=demo.a&data=x", f"{FORM}; charset=latin-1"),
    ],
)
async def test_a_form_that_cannot_be_read_is_a_bad_request(
    async_client: AsyncClient, body: bytes, content_type: str
) -> None:
    await refused(async_client, body, 400, "bad-request", content_type=content_type)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "image/png"])
async def test_another_content_type_is_refused(
    async_client: AsyncClient, content_type: str
) -> None:
    await refused(async_client, b"x", 415, "unsupported-media-type", content_type=content_type)


async def test_an_event_over_the_limit_is_too_large(async_client: AsyncClient) -> None:
    event = {"topic": "demo.a", "data": "x" * 65_537}
    problem = await refused(async_client, event, 413, "too-large")
    assert "65536" in problem["detail"]


@pytest.mark.parametrize(
    "limits", [{"MAX_BATCH_EVENTS": 2}, {"MAX_BATCH_BYTES": 100}, {"MAX_EVENT_BYTES": 1}]
)
async def test_a_batch_over_a_limit_is_too_large_and_not_kept(
    async_client: AsyncClient, settings: DjangoSettings, limits: dict[str, int]
) -> None:
    before = settings.CARILLON
    settings.CARILLON = {**before, **limits}
    await refused(async_client, [{**EVENT, "data": "xxx"}] * 3, 413, "too-large")
    settings.CARILLON = before
    assert await kept(async_client, "demo.a") == []


async def test_a_form_over_djangos_limit_is_too_large(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    body = b"topic=demo.a&data=" + b"x" * 100
    await refused(async_client, body, 413, "too-large", content_type=FORM)


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
async def test_only_a_post_publishes(async_client: AsyncClient, method: str) -> None:
    response = await getattr(async_client, method)("/publish/", headers=AUTHORIZED)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.headers["Content-Type"] == "application/problem+json"


# Bodies in pieces


async def in_pieces(*pieces: bytes) -> tuple[int, dict[str, Any]]:
    """Publish a body of unknown length, as chunked transfer brings it."""
    headers = [(b"content-type", JSON.encode()), (b"host", b"localhost")]
    headers.append((b"authorization", f"Bearer {PUBLISH_KEY}".encode()))
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/publish/",
        "query_string": b"",
        "headers": headers,
    }
    application: Any = ApplicationCommunicator(get_asgi_application(), scope)
    for piece in pieces:
        await application.send_input({"type": "http.request", "body": piece, "more_body": True})
    await application.send_input({"type": "http.request", "body": b""})
    start = await application.receive_output(DEADLINE)
    body = await application.receive_output(DEADLINE)
    await application.send_input({"type": "http.disconnect"})
    await application.wait(DEADLINE)
    return start["status"], json.loads(body["body"])


async def test_a_body_may_come_in_pieces() -> None:
    whole = json.dumps(EVENT).encode()
    status, body = await in_pieces(*(whole[i : i + 1] for i in range(len(whole))))
    assert (status, body["topics"]) == (201, ["demo.a"])


async def test_a_body_in_pieces_has_the_same_limit(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_BATCH_BYTES": 100}
    status, body = await in_pieces(*([b" " * 50] * 3), json.dumps(EVENT).encode())
    assert (status, body["type"]) == (413, "urn:carillon:problem:too-large")


# Idempotency


async def by_header(
    client: AsyncClient, body: Any, key: str, publisher: str = PUBLISH_KEY
) -> Answer:
    headers = {"Authorization": f"Bearer {publisher}", "Idempotency-Key": key}
    return await post(client, body, headers=headers)


async def by_field(
    client: AsyncClient, body: Any, key: str, publisher: str = PUBLISH_KEY
) -> Answer:
    headers = {"Authorization": f"Bearer {publisher}"}
    return await post(client, {**body, "idempotency_key": key}, headers=headers)


@pytest.mark.parametrize("publish", [by_header, by_field])
async def test_a_repeated_key_keeps_nothing_and_answers_what_it_did(
    async_client: AsyncClient, publish: Any
) -> None:
    first, again = [await publish(async_client, EVENT, "k") for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert again.body == {**first.body, "duplicate": True}
    assert await kept(async_client, "demo.a") == ["x"]


@pytest.mark.parametrize("publish", [by_header, by_field])
@pytest.mark.parametrize(
    "other",
    [
        {**EVENT, "data": "y"},
        {**EVENT, "topic": ["demo.a", "demo.b"]},
        {**EVENT, "type": "note"},
        {**EVENT, "retry": 5000},
        {**EVENT, "id": "mine"},
    ],
)
async def test_a_key_that_was_used_for_something_else_is_a_conflict(
    async_client: AsyncClient, publish: Any, other: dict[str, Any]
) -> None:
    await publish(async_client, EVENT, "k")
    told = await publish(async_client, other, "k")
    assert told.is_problem(422, "idempotency-conflict")
    assert await kept(async_client, "demo.a", "demo.b") == ["x"]


@pytest.mark.parametrize("publish", [by_header, by_field])
async def test_a_key_is_the_publishers_own(
    async_client: AsyncClient, settings: DjangoSettings, publish: Any
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": [PUBLISH_KEY, ANOTHER_KEY]}
    for publisher in PUBLISH_KEY, ANOTHER_KEY:
        assert (await publish(async_client, EVENT, "k", publisher)).status == 201
    assert await kept(async_client, "demo.a") == ["x", "x"]


async def test_a_key_of_a_request_is_not_one_of_an_event(async_client: AsyncClient) -> None:
    assert (await by_header(async_client, EVENT, "k")).status == 201
    assert (await by_field(async_client, EVENT, "k")).status == 201


async def test_in_one_batch_a_repeated_key_is_a_duplicate(async_client: AsyncClient) -> None:
    event = {**EVENT, "idempotency_key": "k"}
    told = await post(async_client, [event, event])
    first, second = told.body["events"]
    assert told.status == 201
    assert second == {**first, "duplicate": True}
    assert await kept(async_client, "demo.a") == ["x"]


async def test_of_a_mixed_batch_the_rest_is_kept(async_client: AsyncClient) -> None:
    old = {**EVENT, "idempotency_key": "old"}
    new = {"topic": "demo.a", "data": "new", "idempotency_key": "new"}
    (first,) = (await post(async_client, [old])).body["events"]
    mixed = await post(async_client, [new, old])
    assert mixed.status == 201
    assert "duplicate" not in mixed.body["events"][0]
    assert mixed.body["events"][1] == {**first, "duplicate": True}
    assert (await post(async_client, [old, new])).status == 200
    assert await kept(async_client, "demo.a") == ["x", "new"]


async def test_a_conflict_in_a_batch_refuses_it_by_index(async_client: AsyncClient) -> None:
    await by_field(async_client, EVENT, "k")
    other = {"topic": "demo.a", "data": "y"}
    problem = await refused(
        async_client, [other, {**other, "idempotency_key": "k"}], 422, "idempotency-conflict"
    )
    assert problem["index"] == 1
    assert await kept(async_client, "demo.a") == ["x"]


async def test_a_repeated_batch_is_answered_whole(async_client: AsyncClient) -> None:
    batch = [EVENT, {**EVENT, "data": "y"}]
    first, again = [await by_header(async_client, batch, "k") for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert again.body["events"] == [{**event, "duplicate": True} for event in first.body["events"]]
    for other in batch[:1], [*batch, EVENT], batch[::-1]:
        assert (await by_header(async_client, other, "k")).is_problem(422, "idempotency-conflict")
    assert await kept(async_client, "demo.a") == ["x", "y"]


async def test_a_repeated_form_is_a_duplicate(async_client: AsyncClient) -> None:
    headers = {**AUTHORIZED, "Idempotency-Key": "k"}
    body = b"topic=demo.a&data=x"
    statuses = [
        (await post(async_client, body, content_type=FORM, headers=headers)).status
        for _ in range(2)
    ]
    assert statuses == [201, 200]


async def test_a_key_of_the_request_and_of_an_event_do_not_go_together(
    async_client: AsyncClient,
) -> None:
    told = await by_header(async_client, {**EVENT, "idempotency_key": "k"}, "k")
    assert told.is_problem(422, "invalid")


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_of_the_request_has_1_to_255_characters(
    async_client: AsyncClient, key: str
) -> None:
    assert (await by_header(async_client, EVENT, key)).is_problem(422, "invalid")
    assert (await by_header(async_client, EVENT, "k" * 255)).status == 201


# Who may publish


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer wrong-but-long-enough",
        f"Basic {PUBLISH_KEY}",
        f"bearer{PUBLISH_KEY}",
        "Bearer \xe9\xff\x80" * 8,
    ],
)
async def test_without_a_key_nothing_is_published(
    async_client: AsyncClient, settings: DjangoSettings, authorization: str | None
) -> None:
    settings.DEBUG = True  # in development too
    headers = {} if authorization is None else {"Authorization": authorization}
    told = await post(async_client, EVENT, headers=headers)
    assert told.is_problem(401, "unauthenticated")
    assert told.headers["www-authenticate"].startswith("Bearer ")
    assert await kept(async_client, "demo.a") == []


async def test_who_may_not_publish_is_not_told_what_is_wrong_with_the_body(
    async_client: AsyncClient,
) -> None:
    await refused(async_client, b"nonsense", 401, "unauthenticated", headers={})


async def logged_in(*, may_publish: bool) -> AsyncClient:
    user = await User.objects.acreate_user("ada")
    if may_publish:
        permission = await Permission.objects.aget(codename="publish_event")
        await user.user_permissions.aadd(permission)
    client = AsyncClient(enforce_csrf_checks=True)
    await client.aforce_login(user)
    client.cookies["csrftoken"] = TOKEN
    return client


TOKEN = "t" * 32
WITH_TOKEN = {"X-CSRFToken": TOKEN}


@pytest.mark.django_db(transaction=True)
async def test_a_user_with_the_permission_publishes() -> None:
    client = await logged_in(may_publish=True)
    assert (await post(client, EVENT, headers=WITH_TOKEN)).status == 201
    form = b"topic=demo.a&data=y&csrfmiddlewaretoken=" + TOKEN.encode()
    assert (await post(client, form, content_type=FORM, headers={})).status == 201
    assert await kept(client, "demo.a") == ["x", "y"]


@pytest.mark.django_db(transaction=True)
async def test_a_user_without_the_permission_does_not() -> None:
    client = await logged_in(may_publish=False)
    problem = await refused(client, EVENT, 403, "forbidden", headers=WITH_TOKEN)
    assert "carillon.publish_event" in problem["detail"]


@pytest.mark.django_db(transaction=True)
async def test_a_session_without_its_token_does_not_publish() -> None:
    client = await logged_in(may_publish=True)
    for headers in {}, {"X-CSRFToken": "u" * 32}:
        problem = await refused(client, EVENT, 403, "forbidden", headers=headers)
        assert "CSRF" in problem["detail"]
    assert await kept(client, "demo.a") == []


@pytest.mark.django_db(transaction=True)
async def test_a_form_that_the_csrf_check_cannot_read_is_refused_as_any_other(
    settings: DjangoSettings,
) -> None:
    client = await logged_in(may_publish=True)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    body = b"topic=demo.a&data=" + b"x" * 100
    await refused(client, body, 413, "too-large", content_type=FORM, headers=WITH_TOKEN)
    content_type = "multipart/form-data"
    await refused(client, body, 400, "bad-request", content_type=content_type, headers=WITH_TOKEN)


async def test_while_sessions_cannot_be_read_publishing_is_unavailable(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr("notifications.access.identities.session.by_session", away)
    problem = await refused(async_client, EVENT, 503, "unavailable", headers={})
    assert problem["outcome"] == "not_sent"
    assert (await post(async_client, EVENT)).status == 201


# While the log is away


# With a runtime the event goes through its log, and otherwise through a thread's.
SOMEHOW = pytest.mark.parametrize("runs", [True, False], ids=["by the loop's log", "by a thread"])


async def publish_to(
    client: AsyncClient, settings: DjangoSettings, url: str, *, runs: bool
) -> Answer:
    settings.CARILLON = {
        **settings.CARILLON,
        "LOG": "redis",
        "REDIS_URL": url,
        "PUBLISH_TIMEOUT": 0.2,
    }
    if runs:
        runtime.start()
    told = await post(client, EVENT)
    assert told.is_problem(503, "unavailable")
    assert int(told.headers["retry-after"]) > 0
    return told


@SOMEHOW
async def test_where_nothing_listens_nothing_was_sent(
    async_client: AsyncClient, settings: DjangoSettings, *, runs: bool
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    told = await publish_to(async_client, settings, url, runs=runs)
    assert told.body["outcome"] == "not_sent"


@SOMEHOW
async def test_without_an_acknowledgement_the_outcome_is_unknown(
    async_client: AsyncClient, settings: DjangoSettings, *, runs: bool
) -> None:
    with silent_redis() as url:
        told = await publish_to(async_client, settings, url, runs=runs)
        await runtime.stop()
    assert told.body["outcome"] == "unknown"


# In Redis


@pytest.fixture(params=["by the loop's log", "by a thread"])
async def in_redis(
    request: pytest.FixtureRequest, redis: RedisServer, settings: DjangoSettings
) -> AsyncIterator[RedisServer]:
    settings.CARILLON = {**settings.CARILLON, "LOG": "redis", "REDIS_URL": redis.url}
    if request.param == "by the loop's log":
        runtime.start()
    yield redis
    await runtime.stop()


@pytest.mark.usefixtures("in_redis")
async def test_redis_keeps_a_batch_and_answers_its_duplicates(async_client: AsyncClient) -> None:
    batch = [{"topic": "demo.a", "data": str(n), "idempotency_key": str(n)} for n in range(3)]
    first, again = await post(async_client, batch[:2]), await post(async_client, batch)
    assert (first.status, again.status) == (201, 201)
    assert ["duplicate" in event for event in again.body["events"]] == [True, True, False]
    assert [event["cursor"] for event in first.body["events"]] == [
        event["cursor"] for event in again.body["events"][:2]
    ]
    assert (await post(async_client, batch)).status == 200
    conflict = await post(async_client, [EVENT, {**batch[0], "data": "other"}])
    assert conflict.is_problem(422, "idempotency-conflict")
    assert conflict.body["index"] == 1
    assert await kept(async_client, "demo.a") == ["0", "1", "2"]


@pytest.mark.usefixtures("in_redis")
async def test_redis_keeps_any_data_as_it_is(async_client: AsyncClient) -> None:
    text = "a\0b\r\nc ünïcødé \N{BELL}"
    assert (await post(async_client, {"topic": "demo.ü ü", "data": text, "id": "ü"})).status == 201
    assert await kept(async_client, "demo.ü ü") == [text.replace("\r\n", "\n")]


# Anything at all


async def status_of(body: bytes, content_type: str, headers: dict[str, str]) -> int:
    told = await AsyncClient().post(
        "/publish/", data=body, content_type=content_type, headers=headers
    )
    if told.status_code >= 400:
        assert told.headers["Content-Type"] == "application/problem+json"
    return told.status_code


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
BODY = st.binary(max_size=100) | st.sampled_from([json.dumps(EVENT).encode(), b"topic=a&data=b"])


@given(
    body=BODY,
    content_type=st.sampled_from([JSON, NDJSON, FORM, "multipart/form-data; boundary=b", "x"]),
    authorization=st.just(f"Bearer {PUBLISH_KEY}") | HEADER,
    key=st.none() | HEADER,
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_no_request_is_an_error_of_ours(
    body: bytes, content_type: str, authorization: str, key: str | None
) -> None:
    headers = {"Authorization": authorization}
    if key is not None:
        headers["Idempotency-Key"] = key
    status = async_to_sync(status_of)(body, content_type, headers)
    assert status in {200, 201, 400, 401, 415, 422}
