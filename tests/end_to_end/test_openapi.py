"""The HTTP interface of a real server follows its OpenAPI document, by schemathesis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.harness.servers import PUBLISH_KEY, RedisServer, WebServer, daphne

EXAMPLES = 25
MAX_URL = 15_000
"""Daphne closes the connection without an answer if a request line has more than 16 KiB."""
CHECKED = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "allow_header_conformance"),
)


@pytest.fixture(scope="module")
def server(
    session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    with daphne(session_redis.url, folder) as web:
        yield web


@pytest.fixture(scope="module")
def document(server: WebServer) -> OpenApiSchema:
    status, found = server.get("/openapi.json")
    assert status == 200
    schema: OpenApiSchema = schemathesis.openapi.from_dict(found)
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
        case.call_and_validate(
            headers={"Authorization": f"Bearer {PUBLISH_KEY}"}, timeout=10, checks=checks
        )

    any_request()
