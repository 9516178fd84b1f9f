"""Transports: they take one payload at a time and report what became of it."""

import asyncio
from contextvars import ContextVar

import pytest

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Loss, Message, Payload, Transport
from notifications.transport.pull import PullTransport

DEADLINE_SECONDS = 60.0


class Owner:
    """Records what the transport reports."""

    def __init__(self, transport: Transport) -> None:
        transport.callbacks = self
        self.reports: list[str] = []
        self.reported = asyncio.Event()

    def drained(self) -> None:
        self.reports.append("drained")
        self.reported.set()

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        self.reports.append("lost")
        self.reported.set()


class Server:
    """`send` of an ASGI server, which waits until its client reads."""

    def __init__(self, *, client_reads: bool = True) -> None:
        self.messages: list[Message] = []
        self.client_reads = asyncio.Event()
        self.error: Exception | None = None
        if client_reads:
            self.client_reads.set()

    async def send(self, message: Message) -> None:
        await self.client_reads.wait()
        if self.error is not None:
            raise self.error
        self.messages.append(message)


def nothing() -> None:
    pass


async def test_a_send_that_does_not_wait_is_finished_when_write_returns() -> None:
    server = Server()
    transport = AsgiTransport(server.send, cancel=nothing)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert not transport.busy
    transport.write(Payload(b"b"))
    transport.end(Payload(b"c"))
    assert [(m["body"], m["more_body"]) for m in server.messages] == [
        (b"a", True),
        (b"b", True),
        (b"c", False),
    ]
    assert owner.reports == []


async def test_a_transport_is_busy_while_send_waits() -> None:
    server = Server(client_reads=False)
    transport = AsgiTransport(server.send, cancel=nothing)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert transport.busy
    server.client_reads.set()
    await owner.reported.wait()
    assert not transport.busy
    assert owner.reports == ["drained"]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_send_that_fails_is_reported_once_and_after_write_has_returned(
    *, waits: bool
) -> None:
    server = Server(client_reads=not waits)
    server.error = ConnectionResetError()
    transport = AsgiTransport(server.send, cancel=nothing)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert owner.reports == []
    server.client_reads.set()
    await owner.reported.wait()
    assert owner.reports == ["lost"]


async def test_abort_stops_sending_and_cancels_the_request() -> None:
    server = Server(client_reads=False)
    cancelled = asyncio.Event()
    transport = AsgiTransport(server.send, cancel=cancelled.set)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    transport.abort()
    await owner.reported.wait()
    assert cancelled.is_set()
    assert server.messages == []


async def test_a_response_that_is_broken_off_has_no_end_and_its_request_ends() -> None:
    server, cancelled = Server(), asyncio.Event()
    transport = AsgiTransport(server.send, cancel=cancelled.set)
    Owner(transport)
    transport.end(Payload(b"a"), break_off=True)
    assert [(m["body"], m["more_body"]) for m in server.messages] == [(b"a", True)]
    assert cancelled.is_set()


async def test_an_iteration_that_is_broken_off_raises_after_the_last_chunk() -> None:
    transport = PullTransport()
    Owner(transport)
    transport.end(Payload(b"a"), break_off=True)
    assert await transport.pull() == b"a"
    with pytest.raises(ConnectionAbortedError):
        await transport.pull()


async def test_send_does_not_see_the_context_variables_of_the_writer() -> None:
    context = ContextVar("context", default="empty")
    seen = []

    async def send(message: Message) -> None:
        seen.append(context.get())

    transport = AsgiTransport(send, cancel=nothing)
    Owner(transport)
    context.set("a request's")
    transport.write(Payload(b"a"))
    assert seen == ["empty"]


async def test_pull_returns_a_chunk_and_the_next_pull_means_that_it_is_sent() -> None:
    transport = PullTransport()
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert transport.busy
    assert await transport.pull() == b"a"
    assert transport.busy
    second = asyncio.ensure_future(transport.pull())
    await owner.reported.wait()
    assert not transport.busy
    transport.end(Payload(b"b"))
    assert await second == b"b"
    assert await transport.pull() is None


async def test_pull_returns_none_after_abort() -> None:
    transport = PullTransport()
    Owner(transport)
    pulled = asyncio.ensure_future(transport.pull())
    await asyncio.sleep(0)
    transport.abort()
    assert await pulled is None


async def test_a_released_transport_reports_nothing_and_still_sends_what_it_was_given() -> None:
    server = Server(client_reads=False)
    cancelled = asyncio.Event()
    transport = AsgiTransport(server.send, cancel=cancelled.set)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    transport.release()
    server.client_reads.set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while transport.busy:  # noqa: ASYNC110 - it reports nothing
            await asyncio.sleep(0)
    assert [message["body"] for message in server.messages] == [b"a"]
    assert owner.reports == []
    transport.abort()
    assert not cancelled.is_set(), "the request has ended, and its task may serve another"
