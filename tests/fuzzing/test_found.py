"""What fuzzing has found, each as the least that brings it about."""

import logging
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncClient

from config.asgi import application
from notifications.asgi.handoff import Handoff
from notifications.asgi.sanitize import readable
from notifications.telemetry.logs import Briefly
from tests.fuzzing.exchange import Headers, Sent, complaints, exchange
from tests.harness.websocket_client import Client

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures(
        "own_log", "runtime_ends", "threads_close_their_connections", "no_request_threads"
    ),
]

HOST: Headers = [(b"host", b"testserver")]


async def test_a_query_of_raw_bytes_is_a_problem_of_ours_and_no_traceback() -> None:
    with complaints() as heard:
        answer = await exchange(application, Sent("GET", b"/events/?topic=demo.\xff", HOST))
    assert (answer.status, answer.kind) == (400, "application/problem+json")
    assert "not valid UTF-8" in answer.json["detail"]
    assert heard == []


async def test_a_query_of_raw_utf8_is_read() -> None:
    sent = Sent("GET", "/events/?topic=demo.ü".encode(), HOST)
    assert (await exchange(application, sent)).status == 200


async def test_a_handshake_with_a_query_of_raw_bytes_is_served() -> None:
    async with Client(Raw(b"topic=\xff")) as client:
        assert client.accepted
        await client.subscribe("a", "demo.a")


@pytest.mark.parametrize(
    "cookie", [rb'sessionid="\000aaaaaaa"', b"sessionid=a\0b", rb'a=b; c="\000"']
)
def test_no_cookie_has_a_nul_which_postgresql_takes_for_an_error(cookie: bytes) -> None:
    headers = [*HOST, (b"cookie", cookie)]
    found = ASGIRequest(readable(Sent("GET", b"/", headers).scope), BytesIO()).COOKIES
    assert found
    assert not any("\0" in value for value in found.values())


def test_all_other_cookies_are_as_they_came() -> None:
    scope = Sent("GET", b"/?a", [*HOST, (b"cookie", rb'sessionid="\001a"; b=000')]).scope
    assert readable(scope) is scope


async def test_an_origin_that_is_no_url_is_refused() -> None:
    async with Client(application, origin="http://[") as client:
        assert not client.accepted


async def test_a_host_of_others_is_a_line_of_the_log_and_no_traceback(
    async_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await async_client.get("/nowhere", headers={"host": "a.example"})
    [record] = [each for each in caplog.records if each.name == "django.security.DisallowedHost"]
    assert any(isinstance(each, Briefly) for each in logging.getLogger(record.name).filters)
    assert (record.levelname, record.exc_info) == ("WARNING", None)


class Raw:
    """The application, with a query that no client of tests sends."""

    def __init__(self, query: bytes) -> None:
        self._query = query

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "query_string": self._query}, receive, send)


class Transport:
    def __init__(self, *, closed: bool) -> None:
        self.is_closing = lambda: closed


class Cycle:
    """uvicorn's, on uvloop."""

    def __init__(self, *, closed: bool) -> None:
        self.transport = Transport(closed=closed)

    async def send(self, message: Any) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")


async def test_who_was_cut_over_what_it_pipelined_is_answered_no_more() -> None:
    await Handoff(Cycle(closed=True).send)({"type": "http.response.body"})
    with pytest.raises(RuntimeError):
        await Handoff(Cycle(closed=False).send)({"type": "http.response.body"})
