"""Defects that fuzzing has found, each with a minimal example."""

import logging
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncClient

from config.asgi import application
from notifications.asgi.handoff import Handoff
from notifications.asgi.sanitize import sanitized_scope
from notifications.telemetry.logs import Briefly
from tests.fuzzing.exchange import Headers, Request, exchange, recorded_errors
from tests.harness.websocket_client import WebSocketClient

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures(
        "own_log", "runtime_ends", "threads_close_their_connections", "no_request_threads"
    ),
]

HOST: Headers = [(b"host", b"testserver")]


async def test_a_query_of_raw_bytes_gets_a_problem_and_no_traceback() -> None:
    with recorded_errors() as errors:
        answer = await exchange(application, Request("GET", b"/events/?topic=demo.\xff", HOST))
    assert (answer.status, answer.content_type) == (400, "application/problem+json")
    assert "not valid UTF-8" in answer.json["detail"]
    assert errors == []


async def test_a_query_of_raw_utf8_is_accepted() -> None:
    request = Request("GET", "/events/?topic=demo.ü".encode(), HOST)
    assert (await exchange(application, request)).status == 200


async def test_a_query_with_too_many_fields_is_a_bad_request_if_a_charset_is_named() -> None:
    headers = [*HOST, (b"content-type", b"application/json; charset=utf-8")]
    answer = await exchange(application, Request("GET", b"/?" + b"&" * 1_500, headers))
    assert answer.status == 400
    assert answer.json["type"] == "urn:carillon:problem:bad-request"


async def test_a_handshake_with_a_query_of_raw_bytes_is_served() -> None:
    async with WebSocketClient(WithRawQuery(b"topic=\xff")) as client:
        assert client.accepted
        await client.subscribe("a", "demo.a")


@pytest.mark.parametrize(
    "cookie", [rb'sessionid="\000aaaaaaa"', b"sessionid=a\0b", rb'a=b; c="\000"']
)
def test_no_cookie_has_a_nul_which_postgresql_rejects(cookie: bytes) -> None:
    headers = [*HOST, (b"cookie", cookie)]
    cookies = ASGIRequest(sanitized_scope(Request("GET", b"/", headers).scope), BytesIO()).COOKIES
    assert cookies
    assert not any("\0" in value for value in cookies.values())


def test_other_cookies_are_unchanged() -> None:
    scope = Request("GET", b"/?a", [*HOST, (b"cookie", rb'sessionid="\001a"; b=000')]).scope
    assert sanitized_scope(scope) is scope


async def test_a_malformed_origin_is_refused() -> None:
    async with WebSocketClient(application, origin="http://[") as client:
        assert not client.accepted


async def test_an_unknown_host_is_logged_in_one_line_without_a_traceback(
    async_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await async_client.get("/nowhere", headers={"host": "a.example"})
    [record] = [
        record for record in caplog.records if record.name == "django.security.DisallowedHost"
    ]
    assert any(isinstance(item, Briefly) for item in logging.getLogger(record.name).filters)
    assert (record.levelname, record.exc_info) == ("WARNING", None)


class WithRawQuery:
    """The application with a query of bytes that test clients cannot send."""

    def __init__(self, query: bytes) -> None:
        self._query = query

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "query_string": self._query}, receive, send)


class Transport:
    def __init__(self, *, closed: bool) -> None:
        self.is_closing = lambda: closed


class Cycle:
    """A request cycle of uvicorn, on uvloop."""

    def __init__(self, *, closed: bool) -> None:
        self.transport = Transport(closed=closed)

    async def send(self, message: Any) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")


async def test_nothing_is_sent_to_a_client_that_was_dropped_for_pipelining() -> None:
    await Handoff(Cycle(closed=True).send, {})({"type": "http.response.body"})
    with pytest.raises(RuntimeError):
        await Handoff(Cycle(closed=False).send, {})({"type": "http.response.body"})
