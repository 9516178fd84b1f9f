"""Whatever is sent is answered, soon, as a problem where it is one, and is no error of ours."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from config.asgi import application
from notifications.hub import runtime
from notifications.log.cursors import Cursor, Position
from tests.fuzzing.conftest import fuzzing
from tests.fuzzing.exchange import Answer, Sent, complaints, exchange
from tests.fuzzing.requests import ANYTHING, PUBLICATIONS, READINGS

PROBLEM = "application/problem+json"
OURS = (b"/events", b"/publish", b"/health", b"/metrics", b"/openapi.json", b"/nowhere")

type Ask = Callable[[Sent], Answer]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_log", "threads_close_their_connections"),
]


@pytest.fixture
def ask(loop: asyncio.Runner) -> Ask:
    def asked(sent: Sent) -> Answer:
        with complaints() as heard:
            answer = loop.run(exchange(application, sent))
        assert not heard, heard
        check(sent, answer)
        return answer

    return asked


def check(sent: Sent, answer: Answer) -> None:
    assert 200 <= answer.status < 500, answer
    if answer.status >= 400 and sent.target.startswith(OURS) and sent.method != "HEAD":
        assert answer.kind in (PROBLEM, "text/html"), answer
        if answer.kind == PROBLEM:
            assert answer.json["status"] == answer.status
            assert answer.json["type"].startswith("urn:carillon:problem:")


async def kept(cursor: str) -> Any:
    """What the log has at this place."""
    at = Cursor.parse(cursor)
    log = runtime.start().log
    return [
        entry
        async for batch in log.read(after=Position(at.position - 1), until=at.position)
        for entry in batch.entries
    ]


@fuzzing(max_examples=150)
@given(sent=PUBLICATIONS)
def test_what_is_published_is_kept_or_refused(sent: Sent, ask: Ask, loop: asyncio.Runner) -> None:
    answer = ask(sent)
    if answer.status in (200, 201):
        told = answer.json
        for each in told.get("events", [told]):
            [entry] = loop.run(kept(each["cursor"]))
            assert list(entry.topics) == each["topics"]


@fuzzing(max_examples=150)
@given(sent=READINGS)
def test_whatever_a_reader_asks_is_answered(sent: Sent, ask: Ask) -> None:
    ask(sent)


@fuzzing(max_examples=150)
@given(sent=ANYTHING)
def test_whatever_is_sent_anywhere_is_answered(sent: Sent, ask: Ask) -> None:
    ask(sent)
