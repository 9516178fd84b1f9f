"""`UnbufferedResponse` without a server: its source is read piece by piece, and closed."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler

from notifications.streaming import UnbufferedResponse
from notifications.streaming.django_internals import closers_of

DEADLINE_SECONDS = 60.0


class Source:
    """Three pieces, and a record of how they were read."""

    def __init__(self) -> None:
        self.read = 0
        self.closed = False
        self.threads = set[int]()

    def pieces(self) -> Iterator[str]:
        try:
            for piece in "abc":
                self.read += 1
                self.threads.add(threading.get_ident())
                yield piece
        finally:
            self.closed = True

    async def async_pieces(self) -> AsyncIterator[str]:
        pieces = self.pieces()
        try:
            for piece in pieces:
                await asyncio.sleep(0)
                yield piece
        finally:
            await asyncio.sleep(0)
            self.closed = True


@pytest.fixture
def source() -> Source:
    return Source()


async def test_a_sync_iterator_is_read_in_a_thread_piece_by_piece(source: Source) -> None:
    async with aclosing(aiter(UnbufferedResponse(source.pieces()))) as sent:  # type: ignore[type-var]
        assert await anext(sent) == b"a"
        assert source.read == 1
        assert [piece async for piece in sent] == [b"b", b"c"]
    assert source.closed
    assert threading.get_ident() not in source.threads


def test_an_async_iterator_is_read_by_an_event_loop_piece_by_piece(source: Source) -> None:
    response = UnbufferedResponse(source.async_pieces())
    sent = iter(response)
    assert next(sent) == b"a"
    assert source.read == 1
    assert list(sent) == [b"b", b"c"]
    assert source.closed


def test_a_server_that_closes_the_response_closes_its_source(source: Source) -> None:
    response = UnbufferedResponse(source.async_pieces())
    assert next(iter(response)) == b"a"
    # Not `response.close()`, which sends `request_finished`, and Django closes its connections.
    for close in closers_of(response):
        close()
    assert source.closed


@pytest.mark.parametrize("kind", ["pieces", "async_pieces"])
async def test_a_reader_that_stops_closes_the_source(source: Source, kind: str) -> None:
    response = UnbufferedResponse(getattr(source, kind)())
    async with aclosing(aiter(response)) as sent:  # type: ignore[type-var]
        await anext(sent)
        assert not source.closed
    assert source.closed


async def test_a_middlewares_iterator_does_not_keep_the_source_open(source: Source) -> None:
    response = UnbufferedResponse(source.async_pieces())

    async def louder(pieces: Any) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece.upper()

    response.streaming_content = louder(response.streaming_content)
    async with aclosing(aiter(response)) as sent:  # type: ignore[type-var]
        assert await anext(sent) == b"A"
    assert source.closed


async def test_a_client_that_vanishes_while_a_send_is_blocked_closes_the_source(
    source: Source,
) -> None:
    """Django's own response leaves the source to the garbage collector."""
    blocked = asyncio.Event()

    async def send(message: Any) -> None:
        if message.get("body"):
            blocked.set()
            await asyncio.Event().wait()

    response = UnbufferedResponse(source.async_pieces())
    sending = asyncio.ensure_future(ASGIHandler.send_response(ASGIHandler(), response, send))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await blocked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert source.closed


async def test_a_source_that_never_waits_lets_other_tasks_run() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    steps = 0

    async def other() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    working = asyncio.ensure_future(other())
    async with aclosing(aiter(UnbufferedResponse(endless()))) as sent:  # type: ignore[type-var]
        for _ in range(10):
            await anext(sent)
    working.cancel()
    assert steps >= 9


def test_proxies_are_asked_not_to_buffer_it() -> None:
    headers = UnbufferedResponse().headers
    assert headers["X-Accel-Buffering"] == "no"
    assert "no-transform" in headers["Cache-Control"]
    own = UnbufferedResponse(headers={"Cache-Control": "max-age=60"}).headers
    assert own["Cache-Control"] == "max-age=60"
