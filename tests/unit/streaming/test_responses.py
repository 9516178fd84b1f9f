"""`UnbufferedResponse` by itself: its source is taken piece by piece, and closed, by anybody."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler

from notifications.streaming import UnbufferedResponse

DEADLINE = 10.0


class Source:
    """Three pieces, and what became of it."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False
        self.threads = set[int]()

    def pieces(self) -> Iterator[str]:
        try:
            for piece in "abc":
                self.taken += 1
                self.threads.add(threading.get_ident())
                yield piece
        finally:
            self.closed = True

    async def apieces(self) -> AsyncIterator[str]:
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


async def test_a_sync_iterator_is_taken_in_a_thread_piece_by_piece(source: Source) -> None:
    async with aclosing(aiter(UnbufferedResponse(source.pieces()))) as sent:  # type: ignore[type-var]
        assert await anext(sent) == b"a"
        assert source.taken == 1
        assert [each async for each in sent] == [b"b", b"c"]
    assert source.closed
    assert threading.get_ident() not in source.threads


def test_an_async_iterator_is_taken_by_a_loop_piece_by_piece(source: Source) -> None:
    response = UnbufferedResponse(source.apieces())
    sent = iter(response)
    assert next(sent) == b"a"
    assert source.taken == 1
    assert list(sent) == [b"b", b"c"]
    assert source.closed


def test_a_server_that_closes_the_response_closes_its_source(source: Source) -> None:
    response = UnbufferedResponse(source.apieces())
    assert next(iter(response)) == b"a"
    # Not `close`, which would tell Django that a request is over, and with it its connections.
    for close in vars(response)["_resource_closers"]:
        close()
    assert source.closed


@pytest.mark.parametrize("kind", ["pieces", "apieces"])
async def test_who_stops_closes_the_source(source: Source, kind: str) -> None:
    response = UnbufferedResponse(getattr(source, kind)())
    async with aclosing(aiter(response)) as sent:  # type: ignore[type-var]
        await anext(sent)
        assert not source.closed
    assert source.closed


async def test_a_middlewares_iterator_does_not_keep_the_source_open(source: Source) -> None:
    response = UnbufferedResponse(source.apieces())

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
    """Django's own response leaves that to the garbage collector."""
    blocked = asyncio.Event()

    async def send(message: Any) -> None:
        if message.get("body"):
            blocked.set()
            await asyncio.Event().wait()

    response = UnbufferedResponse(source.apieces())
    sending = asyncio.ensure_future(ASGIHandler.send_response(ASGIHandler(), response, send))
    async with asyncio.timeout(DEADLINE):
        await blocked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert source.closed


async def test_a_source_that_never_waits_lets_others_work() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    working = asyncio.ensure_future(other())
    async with aclosing(aiter(UnbufferedResponse(endless()))) as sent:  # type: ignore[type-var]
        for _ in range(10):
            await anext(sent)
    working.cancel()
    assert turns >= 9


def test_nothing_on_the_way_is_to_hold_it_back() -> None:
    headers = UnbufferedResponse().headers
    assert headers["X-Accel-Buffering"] == "no"
    assert "no-transform" in headers["Cache-Control"]
    given = UnbufferedResponse(headers={"Cache-Control": "max-age=60"}).headers
    assert given["Cache-Control"] == "max-age=60"
