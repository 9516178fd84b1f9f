"""Wires: one chunk at a time, and what becomes of it is told."""

import asyncio
from contextvars import ContextVar

import pytest

from notifications.transport.asgi import AsgiWire
from notifications.transport.base import Message, Parcel, Wire
from notifications.transport.pull import PullWire


class Told:
    """An owner that remembers."""

    def __init__(self, wire: Wire) -> None:
        wire.owner = self
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
    wire = AsgiWire(server.send, give_up=nothing)
    told = Told(wire)
    wire.write(Parcel(b"a"))
    assert not wire.busy
    wire.write(Parcel(b"b"))
    wire.end(Parcel(b"c"))
    assert [(m["body"], m["more_body"]) for m in server.messages] == [
        (b"a", True),
        (b"b", True),
        (b"c", False),
    ]
    assert told.news == []


async def test_a_send_that_waits_makes_the_wire_busy_until_it_is_through() -> None:
    server = Server(reads=False)
    wire = AsgiWire(server.send, give_up=nothing)
    told = Told(wire)
    wire.write(Parcel(b"a"))
    assert wire.busy
    server.reads.set()
    await told.said.wait()
    assert not wire.busy
    assert told.news == ["drained"]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_send_that_fails_is_told_later_and_once(*, waits: bool) -> None:
    server = Server(reads=not waits)
    server.error = ConnectionResetError()
    wire = AsgiWire(server.send, give_up=nothing)
    told = Told(wire)
    wire.write(Parcel(b"a"))
    assert told.news == []
    server.reads.set()
    await told.said.wait()
    assert told.news == ["lost"]


async def test_an_aborted_wire_stops_sending_and_gives_its_connection_up() -> None:
    server = Server(reads=False)
    gave_up = asyncio.Event()
    wire = AsgiWire(server.send, give_up=gave_up.set)
    told = Told(wire)
    wire.write(Parcel(b"a"))
    wire.abort()
    await told.said.wait()
    assert gave_up.is_set()
    assert server.messages == []


async def test_a_send_finds_nothing_of_whoever_wrote() -> None:
    whose = ContextVar("whose", default="nobody's")
    found = []

    async def send(message: Message) -> None:
        found.append(whose.get())

    wire = AsgiWire(send, give_up=nothing)
    Told(wire)
    whose.set("a request's")
    wire.write(Parcel(b"a"))
    assert found == ["nobody's"]


async def test_whoever_pulls_gets_a_chunk_and_is_through_with_it_when_asking_again() -> None:
    wire = PullWire()
    told = Told(wire)
    wire.write(Parcel(b"a"))
    assert wire.busy
    assert await wire.pull() == b"a"
    assert wire.busy
    second = asyncio.ensure_future(wire.pull())
    await told.said.wait()
    assert not wire.busy
    wire.end(Parcel(b"b"))
    assert await second == b"b"
    assert await wire.pull() is None


async def test_a_pulled_wire_that_is_aborted_ends() -> None:
    wire = PullWire()
    Told(wire)
    pulled = asyncio.ensure_future(wire.pull())
    await asyncio.sleep(0)
    wire.abort()
    assert await pulled is None
