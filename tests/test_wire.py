"""Wires: one chunk at a time, and what becomes of it is told."""

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from notifications import wire as wires
from notifications.wire import AsgiWire, DaphneWire, Message, PullWire, Send, Wire, wire_for


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
    wire.write(b"a")
    assert not wire.busy
    wire.write(b"b")
    wire.end(b"c")
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
    wire.write(b"a")
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
    wire.write(b"a")
    assert told.news == []
    server.reads.set()
    await told.said.wait()
    assert told.news == ["lost"]


async def test_an_aborted_wire_stops_sending_and_gives_its_connection_up() -> None:
    server = Server(reads=False)
    gave_up = asyncio.Event()
    wire = AsgiWire(server.send, give_up=gave_up.set)
    told = Told(wire)
    wire.write(b"a")
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
    wire.write(b"a")
    assert found == ["nobody's"]


class FakeRequest:
    """As much of Daphne's request as the wire uses; the real one is in the end-to-end tests."""

    __module__ = "daphne.http_protocol"

    class Channel:
        class Transport:
            aborted = False

            def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
                self.aborted = True

        transport = Transport()

    def __init__(self) -> None:
        self.channel = self.Channel()
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None


async def daphne_send(request: FakeRequest, message: Message) -> None:
    """What `Server.handle_reply` is to the wire."""


async def test_daphne_is_known_by_its_send_and_anything_around_it_is_left_alone() -> None:
    request = FakeRequest()
    bare: Send = partial(daphne_send, request)

    async def wrapped(message: Message) -> None:
        await bare(message)

    assert type(wire_for(wrapped, give_up=nothing)) is AsgiWire
    assert type(wire_for(partial(wrapped), give_up=nothing)) is AsgiWire
    assert type(wire_for(bare, give_up=nothing)) is DaphneWire
    assert type(wire_for(bare, give_up=nothing)) is AsgiWire, "somebody is its producer already"


async def test_daphne_is_busy_while_its_transport_is_full() -> None:
    request = FakeRequest()
    wire = wire_for(partial(daphne_send, request), give_up=nothing)
    told = Told(wire)
    wire.write(b"a")
    request.producer.pauseProducing()
    assert wire.busy
    request.producer.resumeProducing()
    await told.said.wait()
    assert not wire.busy
    assert told.news == ["drained"]


async def test_daphne_has_told_who_left_before_the_wire_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wires, "GRACE", 0.01)
    request = FakeRequest()
    told = Told(wire_for(partial(daphne_send, request), give_up=nothing))
    request.producer.stopProducing()
    await asyncio.sleep(0)
    assert told.news == []
    await told.said.wait()
    assert told.news == ["lost"]


async def test_daphne_is_asked_to_drop_a_connection_that_is_aborted() -> None:
    request = FakeRequest()
    wire = wire_for(partial(daphne_send, request), give_up=nothing)
    Told(wire)
    wire.abort()
    assert request.channel.transport.aborted


async def test_daphne_is_rid_of_its_producer_before_the_response_ends() -> None:
    request = FakeRequest()
    wire = wire_for(partial(daphne_send, request), give_up=nothing)
    Told(wire)
    wire.end(b"")
    assert request.producer is None


async def test_whoever_pulls_gets_a_chunk_and_is_through_with_it_when_asking_again() -> None:
    wire = PullWire()
    told = Told(wire)
    wire.write(b"a")
    assert wire.busy
    assert await wire.pull() == b"a"
    assert wire.busy
    second = asyncio.ensure_future(wire.pull())
    await told.said.wait()
    assert not wire.busy
    wire.end(b"b")
    assert await second == b"b"
    assert await wire.pull() is None


async def test_a_pulled_wire_that_is_aborted_ends() -> None:
    wire = PullWire()
    Told(wire)
    pulled = asyncio.ensure_future(wire.pull())
    await asyncio.sleep(0)
    wire.abort()
    assert await pulled is None
