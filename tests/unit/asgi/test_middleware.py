"""The cheap way in does what Django does, in its order: whatever the middleware."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import got_request_exception, request_finished, request_started
from django.test import override_settings
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from notifications.asgi.handler import CarillonASGIHandler
from tests.harness import middleware
from tests.harness.asgi import DEADLINE, Connection
from tests.harness.middleware import ASYNC, DJANGOS, SYNC_ONLY, dotted

TARGETS = [
    *("/ok", "/ok?status=404", "/ok?status=500", "/guarded", "/templated", "/remembering"),
    *("/telling", "/hearing"),
    *("/fails", "/fails?with=404", "/fails?with=403", "/nothing", "/in_a_thread", "/elsewhere"),
]
SITES = [{}, {"DEBUG": True}, {"CSRF_USE_SESSIONS": True}, {"APPEND_SLASH": False}]
SITE = {
    "ROOT_URLCONF": "tests.harness.middleware",
    # No database: what is compared here is the chain.
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "DEBUG_PROPAGATE_EXCEPTIONS": False,
}


class Said(logging.Handler):
    """What was logged, but for the addresses in it."""

    def emit(self, record: logging.LogRecord) -> None:
        middleware.trace.append(f"{record.name} {record.levelname} {record.getMessage()}")


@contextmanager
def watched() -> Iterator[None]:
    """Signals and the log are of the trace too."""

    def note(signal: Any, **_: Any) -> None:
        names = {id(request_started): "started", id(request_finished): "finished"}
        middleware.note(f"signal {names.get(id(signal), 'exception')}")

    signals = (request_started, request_finished, got_request_exception)
    handler, logger = Said(), logging.getLogger("django")
    for signal in signals:
        signal.connect(note)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        for signal in signals:
            signal.disconnect(note)


type Answer = tuple[int, list[tuple[bytes, bytes]], bytes, list[str]]


async def answer_of(application: ASGIHandler, target: str, method: str, cookie: str) -> Answer:
    middleware.trace.clear()
    middleware.loops.clear()
    connection = Connection(application, target, method=method, cookie=cookie)
    body = b""
    async with connection:
        more = True
        while more:
            message = await connection.message()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        async with asyncio.timeout(DEADLINE):
            await connection.task
    # What is random in a cookie differs by right.
    headers = [
        (name.lower(), value.split(b"=")[0] if name.lower() == b"set-cookie" else value)
        for name, value in connection.headers
    ]
    return connection.status, headers, body, list(middleware.trace)


def both_answers(
    chain: list[str], target: str, method: str = "GET", cookie: str = "", **site: Any
) -> tuple[Answer, Answer]:
    """What Django's handler answers, and what ours does."""

    async def answers() -> tuple[Answer, Answer]:
        return (
            await answer_of(ASGIHandler(), target, method, cookie),
            await answer_of(CarillonASGIHandler(), target, method, cookie),
        )

    names = [dotted(name) for name in chain]
    with override_settings(MIDDLEWARE=names, **(SITE | site)), watched():
        return asyncio.run(answers())


def chains(*kinds: str) -> st.SearchStrategy[list[str]]:
    """Some of Django's, in the order they want, and any others between them."""
    djangos = st.sets(st.sampled_from(range(len(DJANGOS)))).map(
        lambda chosen: [DJANGOS[index] for index in sorted(with_what_they_need(chosen))]
    )
    others = st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, len(DJANGOS))), max_size=4)

    def merged(chain: list[str], added: list[tuple[str, int]]) -> list[str]:
        for name, place in added:
            chain = [*chain[:place], name, *chain[place:]]
        return chain

    return st.builds(merged, djangos, others)


def with_what_they_need(chosen: set[int]) -> set[int]:
    return chosen | {1} if chosen & {4, 5, 6} else chosen


@given(
    chain=chains(*ASYNC),
    target=st.sampled_from(TARGETS),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    cookie=st.sampled_from(["", "csrftoken=bad", "sessionid=bad", "messages=bad"]),
    site=st.sampled_from(
        [{}, {"DEBUG": True}, {"CSRF_USE_SESSIONS": True}, {"APPEND_SLASH": False}]
    ),
)
@example(DJANGOS, "/guarded", "POST", "", {})
@example(DJANGOS, "/remembering", "GET", "", {"SESSION_SAVE_EVERY_REQUEST": True})
@example(DJANGOS, "/telling", "GET", "", {})
@example(DJANGOS, "/hearing", "GET", "messages=bad", {})
@example(["AnswersException", "RaisesInException", "OnLoop"], "/fails", "GET", "", {})
@example(["OnLoop", "RaisesInTemplate"], "/templated", "GET", "", {})
@example(["RaisesInRequest", *DJANGOS[:2]], "/ok", "GET", "", {"CSRF_USE_SESSIONS": True})
@example([*DJANGOS, "Urlconf"], "/ok", "GET", "", {})
@example(["Mixin", "OnLoopAnswersRequest", "Mixin"], "/ok", "GET", "", {})
@example(["Mixin", "OnLoopAnswersView", "Mixin"], "/ok", "GET", "", {})
@example([*DJANGOS[:2], "OnLoopRaisesInResponse", *DJANGOS[3:]], "/ok", "GET", "", {})
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_chain_answers_as_under_django_s_own_handler(
    chain: list[str], target: str, method: str, cookie: str, site: dict[str, Any]
) -> None:
    if site.get("CSRF_USE_SESSIONS"):
        # Where there is no session yet, Django's page of an error has no token, and no answer.
        chain = [DJANGOS[1], *(name for name in chain if name != DJANGOS[1])]
    theirs, ours = both_answers(chain, target, method, cookie, **site)
    if site.get("DEBUG") and theirs[0] >= 400:
        # Django's pages for developers show the traceback, which is ours.
        theirs, ours = ((*each[:1], [], b"", each[3]) for each in (theirs, ours))
    assert ours == theirs


@given(chain=chains(*ASYNC, SYNC_ONLY), target=st.sampled_from(TARGETS))
@example(["OnLoop", SYNC_ONLY, "Mixin"], "/ok")
@hypothesis_settings(max_examples=15, deadline=None)
def test_with_a_middleware_that_is_only_synchronous_too(chain: list[str], target: str) -> None:
    theirs, ours = both_answers([*chain, SYNC_ONLY], target)
    assert ours == theirs


def test_what_is_known_not_to_block_is_called_on_the_loop() -> None:
    both_answers(["OnLoop", *DJANGOS], "/ok")
    assert middleware.loops == ["OnLoop.request", "OnLoop.view", "view", "OnLoop.response"]


@pytest.mark.parametrize("name", ["Mixin", "UnderOnLoop"])
def test_what_is_not_known_is_called_in_a_thread(name: str) -> None:
    both_answers([name], "/ok")
    assert f"{name}.request" in middleware.trace
    assert middleware.loops == ["view"]


def test_under_a_middleware_that_is_only_synchronous_nothing_is_called_on_the_loop() -> None:
    both_answers(["OnLoop", SYNC_ONLY], "/in_a_thread")
    assert middleware.loops == []
