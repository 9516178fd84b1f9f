"""The fast path does what Django does, in the same order, whatever the middleware."""

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
from tests.harness.asgi import DEADLINE_SECONDS, Connection
from tests.harness.middleware import ASYNC, DJANGO, SYNC_ONLY, dotted

TARGETS = [
    *("/ok", "/ok?status=404", "/ok?status=500", "/guarded", "/templated", "/sets_session"),
    *("/adds_message", "/shows_messages"),
    *(
        "/fails",
        "/fails?with=404",
        "/fails?with=403",
        "/nothing",
        "/synchronous_view",
        "/elsewhere",
    ),
]
SITES = [{}, {"DEBUG": True}, {"CSRF_USE_SESSIONS": True}, {"APPEND_SLASH": False}]
SITE = {
    "ROOT_URLCONF": "tests.harness.middleware",
    # Sessions need no database: what is compared here is the chain.
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "DEBUG_PROPAGATE_EXCEPTIONS": False,
}


class LogTrace(logging.Handler):
    """Adds each line of the log to the trace."""

    def emit(self, record: logging.LogRecord) -> None:
        middleware.trace.append(f"{record.name} {record.levelname} {record.getMessage()}")


@contextmanager
def traced() -> Iterator[None]:
    """Within the block, signals and lines of the log are added to the trace too."""

    def note(signal: Any, **_: Any) -> None:
        names = {id(request_started): "started", id(request_finished): "finished"}
        middleware.note(f"signal {names.get(id(signal), 'exception')}")

    signals = (request_started, request_finished, got_request_exception)
    handler, logger = LogTrace(), logging.getLogger("django")
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
        async with asyncio.timeout(DEADLINE_SECONDS):
            await connection.task
    # The random part of a cookie differs between two answers.
    headers = [
        (name.lower(), value.split(b"=")[0] if name.lower() == b"set-cookie" else value)
        for name, value in connection.headers
    ]
    return connection.status, headers, body, list(middleware.trace)


def both_answers(
    chain: list[str], target: str, method: str = "GET", cookie: str = "", **site: Any
) -> tuple[Answer, Answer]:
    """The answers of Django's handler and of ours."""

    async def answers() -> tuple[Answer, Answer]:
        return (
            await answer_of(ASGIHandler(), target, method, cookie),
            await answer_of(CarillonASGIHandler(), target, method, cookie),
        )

    names = [dotted(name) for name in chain]
    with override_settings(MIDDLEWARE=names, **(SITE | site)), traced():
        return asyncio.run(answers())


def chains(*kinds: str) -> st.SearchStrategy[list[str]]:
    """Some of Django's middleware, in the order that they require, with others in between."""
    from_django = st.sets(st.sampled_from(range(len(DJANGO)))).map(
        lambda chosen: [DJANGO[index] for index in sorted(with_sessions(chosen))]
    )
    others = st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, len(DJANGO))), max_size=4)

    def merged(chain: list[str], added: list[tuple[str, int]]) -> list[str]:
        for name, index in added:
            chain = [*chain[:index], name, *chain[index:]]
        return chain

    return st.builds(merged, from_django, others)


def with_sessions(chosen: set[int]) -> set[int]:
    """The indices of `chosen`, and of the session middleware if one of them requires it."""
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
@example(DJANGO, "/guarded", "POST", "", {})
@example(DJANGO, "/sets_session", "GET", "", {"SESSION_SAVE_EVERY_REQUEST": True})
@example(DJANGO, "/adds_message", "GET", "", {})
@example(DJANGO, "/shows_messages", "GET", "messages=bad", {})
@example(["AnswersException", "RaisesInException", "Nonblocking"], "/fails", "GET", "", {})
@example(["Nonblocking", "RaisesInTemplate"], "/templated", "GET", "", {})
@example(["RaisesInRequest", *DJANGO[:2]], "/ok", "GET", "", {"CSRF_USE_SESSIONS": True})
@example([*DJANGO, "Urlconf"], "/ok", "GET", "", {})
@example(["Mixin", "NonblockingAnswersRequest", "Mixin"], "/ok", "GET", "", {})
@example(["Mixin", "NonblockingAnswersView", "Mixin"], "/ok", "GET", "", {})
@example([*DJANGO[:2], "NonblockingRaisesInResponse", *DJANGO[3:]], "/ok", "GET", "", {})
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_chain_answers_as_it_does_under_djangos_handler(
    chain: list[str], target: str, method: str, cookie: str, site: dict[str, Any]
) -> None:
    if site.get("CSRF_USE_SESSIONS"):
        # Without a session, Django's error page has no token, and Django has no answer at all.
        chain = [DJANGO[1], *(name for name in chain if name != DJANGO[1])]
    theirs, ours = both_answers(chain, target, method, cookie, **site)
    if site.get("DEBUG") and theirs[0] >= 400:
        # Django's error pages for developers show the traceback, which names our modules.
        theirs, ours = ((answer[0], [], b"", answer[3]) for answer in (theirs, ours))
    assert ours == theirs


@given(chain=chains(*ASYNC, SYNC_ONLY), target=st.sampled_from(TARGETS))
@example(["Nonblocking", SYNC_ONLY, "Mixin"], "/ok")
@hypothesis_settings(max_examples=15, deadline=None)
def test_any_chain_with_a_synchronous_middleware_answers_as_it_does_under_djangos_handler(
    chain: list[str], target: str
) -> None:
    theirs, ours = both_answers([*chain, SYNC_ONLY], target)
    assert ours == theirs


def test_nonblocking_hooks_are_called_on_the_event_loop() -> None:
    both_answers(["Nonblocking", *DJANGO], "/ok")
    assert middleware.loops == [
        "Nonblocking.request",
        "Nonblocking.view",
        "view",
        "Nonblocking.response",
    ]


@pytest.mark.parametrize("name", ["Mixin", "SubclassOfNonblocking"])
def test_hooks_of_other_middleware_are_called_in_a_thread(name: str) -> None:
    both_answers([name], "/ok")
    assert f"{name}.request" in middleware.trace
    assert middleware.loops == ["view"]


def test_nothing_below_a_synchronous_middleware_is_called_on_the_event_loop() -> None:
    both_answers(["Nonblocking", SYNC_ONLY], "/synchronous_view")
    assert middleware.loops == []
