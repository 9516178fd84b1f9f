"""The HTTP interface of a real server follows its OpenAPI document, by schemathesis."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.schemas import OpenApiSchema

from notifications.sse import Decoder, ServerSentEvent
from tests.end_to_end.test_handoff import MAKE_USERS
from tests.harness.servers import (
    PUBLISH_KEY,
    RedisServer,
    WebServer,
    daphne,
    manage,
    migrate,
    wait_until_ready,
)

EXAMPLES = 25
TOPIC = "demo.openapi"
MAX_URL = 15_000
"""Daphne closes the connection without an answer if a request line has more than 16 KiB."""
CSRF_COOKIE, CSRF_TOKEN = "csrftoken", "a" * 32
NOTIFY = """
from notifications.inbox.models import Notification
fields = {"kind": "message", "params": {"text": "Hello"}, "number": 1, "pending": False}
Notification.objects.create(recipient=User.objects.get(), **fields)
"""
CHECKED = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "allow_header_conformance"),
)


@pytest.fixture(scope="module")
def server(
    session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    with session_redis.client() as client:
        client.flushall()
    with daphne(session_redis.url, folder) as web:
        wait_until_ready(web.port)
        yield web


@pytest.fixture(scope="module")
def person(server: WebServer) -> dict[str, str]:
    """The headers of somebody's browser. One notification waits in the inbox."""
    folder = server.log.parent
    migrate(folder)
    code = f"{MAKE_USERS % 1}\n{NOTIFY}"
    nowhere = "redis://127.0.0.1:1/0"
    [made] = json.loads(manage("shell", "-v0", "-c", code, redis_url=nowhere, folder=folder))
    cookies = {"sessionid": made[1], CSRF_COOKIE: CSRF_TOKEN}
    return {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-CSRFToken": CSRF_TOKEN,
    }


@pytest.fixture(scope="module")
def document(server: WebServer) -> OpenApiSchema:
    status, found = server.get("/openapi.json")
    assert status == 200
    return schema_of(server, found)


def schema_of(server: WebServer, content: dict[str, Any]) -> OpenApiSchema:
    schema: OpenApiSchema = schemathesis.openapi.from_dict(content)
    schema.config.update(base_url=server.url)
    schema.config.max_stream_events = 1
    return schema


@pytest.mark.parametrize(
    "operation",
    [
        *("subscribe", "subscribeHead", "subscribePreflight", "publish"),
        *("historyCsv", "historyNdjson", "historyJson"),
        *("live", "ready", "publishHealth", "openapi"),
    ],
)
def test_any_request_is_answered_as_documented(document: OpenApiSchema, operation: str) -> None:
    check_any_request(document, operation, {"Authorization": f"Bearer {PUBLISH_KEY}"})


@pytest.mark.parametrize(
    "operation",
    [
        *("inbox", "inboxSeen", "inboxRead", "inboxUnread", "inboxArchive"),
        *("preferences", "changePreferences"),
    ],
)
def test_any_request_of_a_person_is_answered_as_documented(
    document: OpenApiSchema, person: dict[str, str], operation: str
) -> None:
    check_any_request(document, operation, person)


def check_any_request(document: OpenApiSchema, operation: str, headers: dict[str, str]) -> None:
    found = document.find_operation_by_id(operation)
    checks: Any = CHECKS.get_by_names(CHECKED)

    modes: Any = schemathesis.GenerationMode

    @seed(1)
    @settings(
        max_examples=EXAMPLES if found.method in {"get", "post"} else 5,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def any_request(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([modes.POSITIVE, modes.NEGATIVE]))
        case = data.draw(found.as_strategy(generation_mode=mode))
        request = requests.Request(**case.as_transport_kwargs()).prepare()
        assume(len(request.url or "") <= MAX_URL)
        case.call_and_validate(headers=headers, timeout=10, checks=checks)

    any_request()


def stream_events(document: OpenApiSchema, **query: Any) -> list[ServerSentEvent]:
    """The first events of a stream. Fails if one of them is not as the document says."""
    found = document.find_operation_by_id("subscribe")
    case = found.Case(query={"topic": [TOPIC, "hidden"], **query})
    checks: Any = CHECKS.get_by_names(CHECKED)
    return Decoder().feed(case.call_and_validate(timeout=10, checks=checks).content)


def test_the_events_of_a_live_stream_are_as_documented(server: WebServer) -> None:
    paid = {"topic": TOPIC, "type": "paid", "data": {"n": 1}, "retry": 500}
    status, _ = server.publish([{"topic": TOPIC, "data": "text"}, paid])
    assert status == 201
    _, content = server.get("/openapi.json")
    document = schema_of(server, content)
    document.config.max_stream_events = 4
    plain = [event.type for event in stream_events(document, since="all")]
    assert plain == ["stream.cursor", "stream.denied", "message", "paid"]
    enveloped = stream_events(document, since="all", envelope="1")
    assert [event.type for event in enveloped] == [*plain[:2], "message", "message"]
    document.config.max_stream_events = 2
    lost = stream_events(document, last_event_id="unknown")
    assert [event.type for event in lost] == ["stream.reset", "stream.denied"]


def test_an_event_that_is_not_as_documented_is_found(server: WebServer) -> None:
    _, content = server.get("/openapi.json")
    content["components"]["schemas"]["StreamCursor"]["properties"]["data"]["contentSchema"] = {
        "type": "object",
        "required": ["position"],
    }
    content["components"]["schemas"]["PublishedItem"]["properties"]["event"] = {"const": "paid"}
    with pytest.raises(FailureGroup, match="SSE"):
        stream_events(schema_of(server, content))
