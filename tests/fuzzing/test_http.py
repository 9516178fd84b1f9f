"""Every request is answered in time, if need be with a problem, and causes no server error."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from config.asgi import application
from notifications.hub import runtime
from notifications.log.cursors import Cursor, Position
from tests.fuzzing.conftest import fuzzing
from tests.fuzzing.exchange import Answer, Request, exchange, recorded_errors
from tests.fuzzing.requests import ANYTHING, PUBLICATIONS, READS

PROBLEM = "application/problem+json"
OUR_PATHS = (b"/events", b"/publish", b"/health", b"/metrics", b"/openapi.json", b"/nowhere")

type Ask = Callable[[Request], Answer]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_log", "threads_close_their_connections"),
]


@pytest.fixture
def ask(loop: asyncio.Runner) -> Ask:
    def send(request: Request) -> Answer:
        with recorded_errors() as errors:
            answer = loop.run(exchange(application, request))
        assert not errors, errors
        check(request, answer)
        return answer

    return send


def check(request: Request, answer: Answer) -> None:
    assert 200 <= answer.status < 500, answer
    if answer.status >= 400 and request.target.startswith(OUR_PATHS) and request.method != "HEAD":
        assert answer.content_type in (PROBLEM, "text/html"), answer
        if answer.content_type == PROBLEM:
            assert answer.json["status"] == answer.status
            assert answer.json["type"].startswith("urn:carillon:problem:")


async def entries_at(cursor: str) -> Any:
    """The entries of the log at this position."""
    at = Cursor.parse(cursor)
    log = runtime.start().log
    return [
        entry
        async for batch in log.read(after=Position(at.position - 1), until=at.position)
        for entry in batch.entries
    ]


@fuzzing(max_examples=150)
@given(request=PUBLICATIONS)
def test_a_publication_is_stored_or_refused(
    request: Request, ask: Ask, loop: asyncio.Runner
) -> None:
    answer = ask(request)
    if answer.status in (200, 201):
        body = answer.json
        for receipt in body.get("events", [body]):
            [entry] = loop.run(entries_at(receipt["cursor"]))
            assert list(entry.topics) == receipt["topics"]


@fuzzing(max_examples=150)
@given(request=READS)
def test_any_read_is_answered(request: Request, ask: Ask) -> None:
    ask(request)


@fuzzing(max_examples=150)
@given(request=ANYTHING)
def test_any_request_is_answered(request: Request, ask: Ask) -> None:
    ask(request)
