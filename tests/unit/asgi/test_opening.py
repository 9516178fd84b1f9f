"""Opening a stream: the early end of HEAD, and sockets for which nobody else would answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.asgi.opening import run_stream
from notifications.asgi.server_warnings import ServerWarnings
from notifications.hub.grants import Grant
from notifications.hub.refusals import Refusal
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import CloseReason, Start
from notifications.transport.base import Message, Transport, receive_disconnect
from notifications.transport.pollers import poller
from tests.harness.fakes import FakeServerConnection

DEADLINE_SECONDS = 60.0
SHORT_SECONDS = 0.05


class Scripted(EventStream):
    """Is refused as it is told to be, first before and then after its socket was taken."""

    def __init__(self, *refusals: CloseReason | None) -> None:
        super().__init__(Grant(topics=("t",)), Start())
        self.refusals = list(refusals)

    async def refusal(self) -> Refusal | None:
        reason = self.refusals.pop(0)
        return None if reason is None else Refusal(reason)

    def open_detached(self, transport: Transport) -> None:
        raise RuntimeError("a fault of the hub")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, client = socket.socketpair()
    client.setblocking(False)
    with closing(ours), closing(client):
        yield ours, client


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    await until_nothing_is_left()


async def until_nothing_is_left() -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(poller()):  # noqa: ASYNC110 - nothing reports that a socket is closed
            await asyncio.sleep(SHORT_SECONDS)


async def run(stream: EventStream, connection: socket.socket) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    detachable, warnings = FakeServerConnection(connection), ServerWarnings()
    await run_stream(stream, detachable, receive_disconnect, send, warnings, is_head=False)
    return sent


async def test_the_response_to_head_ends_at_once_and_no_stream_opens() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    stream = Scripted()  # which fails if it is asked for anything
    await run_stream(stream, None, receive_disconnect, send, ServerWarnings(), is_head=True)
    assert sent == [{"type": "http.response.body", "body": b"", "more_body": False}]


async def test_a_stream_that_is_refused_after_its_socket_was_taken_gets_the_reason(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, client = ends
    assert await run(Scripted(None, CloseReason.DRAINING), ours) == []
    received = await asyncio.get_running_loop().sock_recv(client, 65536)
    assert b'event: stream.closing\ndata: {"reason":"draining"}' in received
    assert received.endswith(b"\r\n0\r\n\r\n")


async def test_such_a_client_that_reads_nothing_is_cut_off_at_the_write_deadline(
    ends: tuple[socket.socket, socket.socket], settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "WRITE_DEADLINE": SHORT_SECONDS}
    ours, _ = ends
    ours.setblocking(False)
    with suppress(BlockingIOError):
        while ours.send(b"x" * 65536):  # as an earlier response may have filled the buffers
            pass
    await run(Scripted(None, CloseReason.DRAINING), ours)
    assert len(poller()) == 1
    await until_nothing_is_left()  # while its client is still there


async def test_a_stream_that_cannot_join_the_hub_leaves_no_connection_open(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, client = ends
    with pytest.raises(RuntimeError, match="a fault of the hub"):
        await run(Scripted(None, None), ours)
    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
