"""Wires: one chunk at a time, and what becomes of it is told."""

import asyncio
from contextvars import ContextVar

import pytest

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Message, Payload, Transport
from notifications.transport.pull import PullTransport


class Told:
    """An owner that remembers."""

    def __init__(self, transport: Transport) -> None:
        transport.owner = self
        self.news: list[str] = []
        self.said = asyncio.Event()

    def drained(self) -> None:
        self.news.append("drained")
        self.said.set()

    def lost(self) -> None:
        self.news.append("lost")
        self.said.set()


class Server:
    """`send` of an ASGI server whose client reads when it is told to."""

    def __init__(self, *, reads: bool = True) -> None:
        self.messages: list[Message] = []
        self.reads = asyncio.Event()
        self.error: Exception | None = None
        if reads:
            self.reads.set()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        if self.error is not None:
            raise self.error
        self.messages.append(message)


def nothing() -> None:
    pass


async def test_a_send_that_does_not_wait_is_through_at_once() -> None:
    server = Server()
    transport = AsgiTransport(server.send, give_up=nothing)
    told = Told(transport)
    transport.write(Payload(b"a"))
    assert not transport.busy
    transport.write(Payload(b"b"))
    transport.end(Payload(b"c"))
    assert [(m["body"], m["more_body"]) for m in server.messages] == [
        (b"a", True),
        (b"b", True),
        (b"c", False),
    ]
    assert told.news == []


async def test_a_send_that_waits_makes_the_wire_busy_until_it_is_through() -> None:
    server = Server(reads=False)
    transport = AsgiTransport(server.send, give_up=nothing)
    told = Told(transport)
    transport.write(Payload(b"a"))
    assert transport.busy
    server.reads.set()
    await told.said.wait()
    assert not transport.busy
    assert told.news == ["drained"]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_send_that_fails_is_told_later_and_once(*, waits: bool) -> None:
    server = Server(reads=not waits)
    server.error = ConnectionResetError()
    transport = AsgiTransport(server.send, give_up=nothing)
    told = Told(transport)
    transport.write(Payload(b"a"))
    assert told.news == []
    server.reads.set()
    await told.said.wait()
    assert told.news == ["lost"]


async def test_an_aborted_wire_stops_sending_and_gives_its_connection_up() -> None:
    server = Server(reads=False)
    gave_up = asyncio.Event()
    transport = AsgiTransport(server.send, give_up=gave_up.set)
    told = Told(transport)
    transport.write(Payload(b"a"))
    transport.abort()
    await told.said.wait()
    assert gave_up.is_set()
    assert server.messages == []


async def test_a_send_finds_nothing_of_whoever_wrote() -> None:
    whose = ContextVar("whose", default="nobody's")
    found = []

    async def send(message: Message) -> None:
        found.append(whose.get())

    transport = AsgiTransport(send, give_up=nothing)
    Told(transport)
    whose.set("a request's")
    transport.write(Payload(b"a"))
    assert found == ["nobody's"]


async def test_whoever_pulls_gets_a_chunk_and_is_through_with_it_when_asking_again() -> None:
    transport = PullTransport()
    told = Told(transport)
    transport.write(Payload(b"a"))
    assert transport.busy
    assert await transport.pull() == b"a"
    assert transport.busy
    second = asyncio.ensure_future(transport.pull())
    await told.said.wait()
    assert not transport.busy
    transport.end(Payload(b"b"))
    assert await second == b"b"
    assert await transport.pull() is None


async def test_a_pulled_wire_that_is_aborted_ends() -> None:
    transport = PullTransport()
    Told(transport)
    pulled = asyncio.ensure_future(transport.pull())
    await asyncio.sleep(0)
    transport.abort()
    assert await pulled is None
