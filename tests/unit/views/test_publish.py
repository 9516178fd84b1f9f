"""`POST /publish/`: what is stored, what is answered, what is refused, and who may publish."""

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
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.asgi import get_asgi_application
from notifications.hub import runtime
from notifications.views.bodies import PublishRequest, parse_publish_request
from tests.harness.django_client import (
    AUTHORIZED,
    DEADLINE_SECONDS,
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


async def stored_data(client: AsyncClient, *topics: str) -> list[str]:
    """The data of all events of these topics in the log. Publishes one more event."""
    await post(client, {"topic": topics[0], "data": "the end"})
    data: list[str] = []
    async with subscribed(client, *topics, parameters=[("since", "all")]) as stream:
        while (data or [""])[-1] != "the end":
            data += await stream.data(1)
    return data[:-1]


async def refused(
    client: AsyncClient, body: Any, status: int, code: str, **options: Any
) -> dict[str, Any]:
    """The problem with which the body is refused."""
    response = await post(client, body, **options)
    assert response.is_problem(status, code), response
    problem: dict[str, Any] = response.body
    return problem


# Stored events


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
async def test_an_event_is_stored_from_each_content_type(
    async_client: AsyncClient, path: str, body: bytes, content_type: str
) -> None:
    response = await post(async_client, body, content_type=content_type, path=path)
    assert response.status == 201
    assert response.headers["content-type"] == "application/json"
    assert set(response.body) == {"id", "cursor", "topics"}
    assert response.body["id"].startswith("urn:uuid:")
    assert response.body["topics"] == ["demo.a"]
    assert await stored_data(async_client, "demo.a") == ["x"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'[{"topic":"demo.a","data":"1"},{"topic":"demo.b","data":"2"}]', JSON),
        (b'{"topic":"demo.a","data":"1"}\n{"topic":"demo.b","data":"2"}\n', NDJSON),
    ],
)
async def test_a_batch_is_stored_and_answered_in_order(
    async_client: AsyncClient, body: bytes, content_type: str
) -> None:
    response = await post(async_client, body, content_type=content_type)
    assert response.status == 201
    assert list(response.body) == ["events"]
    assert [event["topics"] for event in response.body["events"]] == [["demo.a"], ["demo.b"]]
    assert await stored_data(async_client, "demo.a", "demo.b") == ["1", "2"]


async def test_the_receipt_has_the_cursor_that_streams_carry(
    async_client: AsyncClient,
) -> None:
    async with subscribed(async_client, "demo.a") as stream:
        await stream.next()
        response = await post(async_client, {**EVENT, "type": "note", "id": "mine", "retry": 5000})
        event = await stream.next()
    assert (event.id, event.type, event.retry) == (response.body["cursor"], "note", 5000)
    assert response.body["id"] == "mine"


async def test_an_event_of_several_topics_is_one_event(async_client: AsyncClient) -> None:
    response = await post(async_client, {"topic": ["demo.a", "demo.b", "demo.a"], "data": "once"})
    assert response.body["topics"] == ["demo.a", "demo.b"]
    assert isinstance(response.body["cursor"], str)
    assert await stored_data(async_client, "demo.a", "demo.b") == ["once"]


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
    assert await stored_data(async_client, "demo.a") == [sent]


async def test_publishing_works_under_wsgi_too(client: Client) -> None:
    def publish() -> Answer:
        return answer(client.post("/publish/", EVENT, content_type=JSON, headers=AUTHORIZED))

    assert (await asyncio.to_thread(publish)).status == 201


async def test_a_large_batch_is_parsed_in_a_thread_and_leaves_the_loop_to_the_streams(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def parse(request: HttpRequest) -> PublishRequest:
        threads.append(threading.current_thread())
        return parse_publish_request(request)

    monkeypatch.setattr("notifications.views.publish.parse_publish_request", parse)
    await post(async_client, EVENT)
    assert (await post(async_client, [{**EVENT, "data": "x" * 40_000}] * 2)).status == 201
    small, large = threads
    assert small is threading.current_thread()
    assert large is not threading.current_thread()


# Refusals


async def test_one_invalid_event_refuses_its_batch(async_client: AsyncClient) -> None:
    problem = await refused(
        async_client, [EVENT, {"topic": "demo.a"}, {**EVENT, "type": "open"}], 422, "invalid"
    )
    assert [(error["index"], error["field"]) for error in problem["errors"]] == [
        (1, "data"),
        (2, "type"),
    ]
    assert all(error["reason"] for error in problem["errors"])
    assert await stored_data(async_client, "demo.a") == []


async def test_an_unknown_field_is_refused_by_its_name(async_client: AsyncClient) -> None:
    problem = await refused(async_client, {**EVENT, "event": "note"}, 422, "invalid")
    (error,) = problem["errors"]
    assert error["field"] == "event"
    assert "event" in problem["detail"]


@pytest.mark.parametrize("type_", ["stream.cursor", "stream.x", "open", "error", "a\nb", "a\0b"])
async def test_a_reserved_type_is_refused(async_client: AsyncClient, type_: str) -> None:
    problem = await refused(async_client, {**EVENT, "type": type_}, 422, "invalid")
    assert problem["errors"][0]["field"] == "type"


@pytest.mark.parametrize(
    "body", [b" ", b"{", b"nonsense", b'{"topic": "demo.a", "data": NaN}', b"[" * 100_000]
)
async def test_invalid_json_is_a_bad_request(async_client: AsyncClient, body: bytes) -> None:
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
async def test_a_batch_over_a_limit_is_too_large_and_not_stored(
    async_client: AsyncClient, settings: DjangoSettings, limits: dict[str, int]
) -> None:
    before = settings.CARILLON
    settings.CARILLON = {**before, **limits}
    await refused(async_client, [{**EVENT, "data": "xxx"}] * 3, 413, "too-large")
    settings.CARILLON = before
    assert await stored_data(async_client, "demo.a") == []


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


# Chunked bodies


async def publish_chunked(*chunks: bytes) -> tuple[int, dict[str, Any]]:
    """Publish a body of unknown length, as chunked transfer coding sends it."""
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
    for chunk in chunks:
        await application.send_input({"type": "http.request", "body": chunk, "more_body": True})
    await application.send_input({"type": "http.request", "body": b""})
    start = await application.receive_output(DEADLINE_SECONDS)
    body = await application.receive_output(DEADLINE_SECONDS)
    await application.send_input({"type": "http.disconnect"})
    await application.wait(DEADLINE_SECONDS)
    return start["status"], json.loads(body["body"])


async def test_a_body_may_come_in_chunks() -> None:
    body_sent = json.dumps(EVENT).encode()
    status, body = await publish_chunked(*(body_sent[i : i + 1] for i in range(len(body_sent))))
    assert (status, body["topics"]) == (201, ["demo.a"])


async def test_a_chunked_body_has_the_same_limit(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_BATCH_BYTES": 100}
    status, body = await publish_chunked(*([b" " * 50] * 3), json.dumps(EVENT).encode())
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
async def test_a_repeated_key_stores_nothing_and_gets_the_same_receipt(
    async_client: AsyncClient, publish: Any
) -> None:
    first, again = [await publish(async_client, EVENT, "k") for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert again.body == {**first.body, "duplicate": True}
    assert await stored_data(async_client, "demo.a") == ["x"]


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
async def test_a_key_that_was_used_for_another_event_is_a_conflict(
    async_client: AsyncClient, publish: Any, other: dict[str, Any]
) -> None:
    await publish(async_client, EVENT, "k")
    response = await publish(async_client, other, "k")
    assert response.is_problem(422, "idempotency-conflict")
    assert await stored_data(async_client, "demo.a", "demo.b") == ["x"]


@pytest.mark.parametrize("publish", [by_header, by_field])
async def test_two_publishers_may_use_the_same_key(
    async_client: AsyncClient, settings: DjangoSettings, publish: Any
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": [PUBLISH_KEY, ANOTHER_KEY]}
    for publisher in PUBLISH_KEY, ANOTHER_KEY:
        assert (await publish(async_client, EVENT, "k", publisher)).status == 201
    assert await stored_data(async_client, "demo.a") == ["x", "x"]


async def test_a_key_of_a_request_differs_from_the_same_key_of_an_event(
    async_client: AsyncClient,
) -> None:
    assert (await by_header(async_client, EVENT, "k")).status == 201
    assert (await by_field(async_client, EVENT, "k")).status == 201


async def test_an_answer_has_the_bytes_that_django_makes_of_its_values(
    async_client: AsyncClient,
) -> None:
    batch = [EVENT, {**EVENT, "id": '"é\\'}, {**EVENT, "topic": ['demo."é', "demo.a"]}]
    keyed = [{**EVENT, "idempotency_key": "k", "id": "ü"}] * 2
    for body in (EVENT, keyed[0], batch + keyed):
        response = await async_client.post("/publish/", body, JSON, headers=AUTHORIZED)
        assert response.content == JsonResponse(response.json()).content
        assert response["Content-Type"] == "application/json"
    assert [event["id"] for event in response.json()["events"][1::2]] == ['"é\\', "ü"]


async def test_in_one_batch_a_repeated_key_is_a_duplicate(async_client: AsyncClient) -> None:
    event = {**EVENT, "idempotency_key": "k"}
    response = await post(async_client, [event, event])
    first, second = response.body["events"]
    assert response.status == 201
    assert second == {**first, "duplicate": True}
    assert await stored_data(async_client, "demo.a") == ["x"]


async def test_the_new_events_of_a_mixed_batch_are_stored(async_client: AsyncClient) -> None:
    old = {**EVENT, "idempotency_key": "old"}
    new = {"topic": "demo.a", "data": "new", "idempotency_key": "new"}
    (first,) = (await post(async_client, [old])).body["events"]
    mixed = await post(async_client, [new, old])
    assert mixed.status == 201
    assert "duplicate" not in mixed.body["events"][0]
    assert mixed.body["events"][1] == {**first, "duplicate": True}
    assert (await post(async_client, [old, new])).status == 200
    assert await stored_data(async_client, "demo.a") == ["x", "new"]


async def test_a_conflict_in_a_batch_refuses_it_by_index(async_client: AsyncClient) -> None:
    await by_field(async_client, EVENT, "k")
    other = {"topic": "demo.a", "data": "y"}
    problem = await refused(
        async_client, [other, {**other, "idempotency_key": "k"}], 422, "idempotency-conflict"
    )
    assert problem["index"] == 1
    assert await stored_data(async_client, "demo.a") == ["x"]


async def test_a_repeated_batch_gets_all_its_receipts(async_client: AsyncClient) -> None:
    batch = [EVENT, {**EVENT, "data": "y"}]
    first, again = [await by_header(async_client, batch, "k") for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert again.body["events"] == [{**event, "duplicate": True} for event in first.body["events"]]
    for other in batch[:1], [*batch, EVENT], batch[::-1]:
        assert (await by_header(async_client, other, "k")).is_problem(422, "idempotency-conflict")
    assert await stored_data(async_client, "demo.a") == ["x", "y"]


async def test_a_repeated_form_is_a_duplicate(async_client: AsyncClient) -> None:
    headers = {**AUTHORIZED, "Idempotency-Key": "k"}
    body = b"topic=demo.a&data=x"
    statuses = [
        (await post(async_client, body, content_type=FORM, headers=headers)).status
        for _ in range(2)
    ]
    assert statuses == [201, 200]


async def test_keys_of_the_request_and_of_an_event_exclude_each_other(
    async_client: AsyncClient,
) -> None:
    response = await by_header(async_client, {**EVENT, "idempotency_key": "k"}, "k")
    assert response.is_problem(422, "invalid")


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
    response = await post(async_client, EVENT, headers=headers)
    assert response.is_problem(401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert await stored_data(async_client, "demo.a") == []


async def test_a_client_without_permission_does_not_learn_what_is_wrong_with_the_body(
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
    assert await stored_data(client, "demo.a") == ["x", "y"]


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
    assert await stored_data(client, "demo.a") == []


@pytest.mark.django_db(transaction=True)
async def test_a_form_that_the_csrf_check_cannot_read_gets_the_same_problem(
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

    monkeypatch.setattr("notifications.access.identities.session.authenticate_session", away)
    problem = await refused(async_client, EVENT, 503, "unavailable", headers={})
    assert problem["outcome"] == "not_sent"
    assert (await post(async_client, EVENT)).status == 201


# While the log is away


# With a runtime, the event goes through the log of the event loop; otherwise through a thread.
BOTH_WAYS = pytest.mark.parametrize("runs", [True, False], ids=["by the loop's log", "by a thread"])


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
    response = await post(client, EVENT)
    assert response.is_problem(503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    return response


@BOTH_WAYS
async def test_if_no_redis_listens_the_outcome_is_not_sent(
    async_client: AsyncClient, settings: DjangoSettings, *, runs: bool
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    response = await publish_to(async_client, settings, url, runs=runs)
    assert response.body["outcome"] == "not_sent"


@BOTH_WAYS
async def test_without_an_acknowledgement_the_outcome_is_unknown(
    async_client: AsyncClient, settings: DjangoSettings, *, runs: bool
) -> None:
    with silent_redis() as url:
        response = await publish_to(async_client, settings, url, runs=runs)
        await runtime.stop()
    assert response.body["outcome"] == "unknown"


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
async def test_redis_stores_a_batch_and_reports_its_duplicates(async_client: AsyncClient) -> None:
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
    assert await stored_data(async_client, "demo.a") == ["0", "1", "2"]


@pytest.mark.usefixtures("in_redis")
async def test_redis_stores_any_data_unchanged(async_client: AsyncClient) -> None:
    text = "a\0b\r\nc ünïcødé \N{BELL}"
    assert (await post(async_client, {"topic": "demo.ü ü", "data": text, "id": "ü"})).status == 201
    assert await stored_data(async_client, "demo.ü ü") == [text.replace("\r\n", "\n")]


# Arbitrary requests


async def status_of(body: bytes, content_type: str, headers: dict[str, str]) -> int:
    response = await AsyncClient().post(
        "/publish/", data=body, content_type=content_type, headers=headers
    )
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
BODY = st.binary(max_size=100) | st.sampled_from([json.dumps(EVENT).encode(), b"topic=a&data=b"])


@given(
    body=BODY,
    content_type=st.sampled_from([JSON, NDJSON, FORM, "multipart/form-data; boundary=b", "x"]),
    authorization=st.just(f"Bearer {PUBLISH_KEY}") | HEADER,
    key=st.none() | HEADER,
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_no_request_causes_a_server_error(
    body: bytes, content_type: str, authorization: str, key: str | None
) -> None:
    headers = {"Authorization": authorization}
    if key is not None:
        headers["Idempotency-Key"] = key
    status = async_to_sync(status_of)(body, content_type, headers)
    assert status in {200, 201, 400, 401, 415, 422}
