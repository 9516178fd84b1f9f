"""The transport over a socket of its own, with the poller of this platform and the portable one."""

import asyncio
import errno
import gc
import os
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from notifications.transport import poller as poller_module
from notifications.transport.base import Loss, Payload
from notifications.transport.poller import Poller, SelectorPoller
from notifications.transport.pollers import PLATFORM_POLLER
from notifications.transport.socket import LAST_CHUNK, SocketTransport

DEADLINE_SECONDS = 60.0
BUFFER_BYTES = 16 * 1024
LARGE = Payload(b"x" * 512 * 1024)
"""More than the kernel takes at once."""


class Owner:
    """Records what a transport reports."""

    def __init__(self, transport: SocketTransport) -> None:
        transport.callbacks = self
        self.reports: list[str] = []
        self.reported = asyncio.Event()

    def drained(self) -> None:
        self.reports.append("drained")
        self.reported.set()

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        self.reports.append(loss)
        self.reported.set()

    async def report(self) -> str:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.reported.wait()
        return self.reports[-1]


@pytest.fixture(params=[PLATFORM_POLLER, SelectorPoller], ids=["platform", "portable"])
async def poller(request: pytest.FixtureRequest) -> AsyncIterator[Poller]:
    made: Poller = request.param(asyncio.get_running_loop())
    yield made
    await made.finish()
    assert len(made) == 0


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection: the server's, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    for each in (server, client):
        each.setblocking(False)
    return server, client


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = connected()
    yield server, client  # the transport closes the server's
    client.close()


type Ends = tuple[socket.socket, socket.socket]


async def read(client: socket.socket, count: int | None = None) -> bytes:
    """So many bytes, or all until the end."""
    loop, received = asyncio.get_running_loop(), b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while count is None or len(received) < count:
            piece = await loop.sock_recv(client, 65536 if count is None else count - len(received))
            if not piece:
                break
            received += piece
    return received


async def until_empty(poller: Poller) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(poller):  # noqa: ASYNC110 - nothing reports that a socket is closed
            await asyncio.sleep(0)


async def test_what_the_socket_takes_at_once_is_sent_when_write_returns(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert not transport.busy
    transport.end(Payload(b"b"))
    assert await read(client) == b"1\r\na\r\n1\r\nb\r\n" + LAST_CHUNK
    client.close()
    await until_empty(poller)
    assert owner.reports == []


async def test_without_chunks_a_body_ends_with_its_connection(poller: Poller, ends: Ends) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=False)
    transport.write(Payload(b"a"))
    transport.end(Payload(b"b"))
    assert await read(client) == b"ab"


async def test_it_is_busy_until_the_client_has_read_and_no_payload_is_lost_or_sent_twice(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    owner = Owner(transport)
    for _ in range(3):
        owner.reported.clear()
        transport.write(LARGE)
        assert transport.busy
        assert await read(client, len(LARGE.coded)) == LARGE.coded
        assert await owner.report() == "drained"
        assert not transport.busy
    assert owner.reports == ["drained"] * 3
    transport.abort()


@pytest.mark.parametrize("break_off", [False, True])
async def test_an_end_that_the_socket_does_not_take_at_once_arrives(
    poller: Poller, ends: Ends, *, break_off: bool
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    owner = Owner(transport)
    transport.end(LARGE, break_off=break_off)
    assert transport.busy
    # A close with this unread would reset the connection.
    client.send(b"a request that nobody reads" * 20)
    assert await read(client) == LARGE.coded + (b"" if break_off else LAST_CHUNK)
    assert await owner.report() == "drained"


async def test_what_a_client_sends_is_discarded_up_to_a_limit_after_the_end(
    poller: Poller, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "DISCARDED_BYTES", 100_000)
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    transport.end(Payload(b"a"))
    loop = asyncio.get_running_loop()
    sending = loop.sock_sendall(client, b"x" * 10_000_000)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await asyncio.wait_for(sending, DEADLINE_SECONDS)
    await until_empty(poller)


async def test_a_client_that_does_not_close_is_waited_for_until_a_deadline(
    poller: Poller, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "LINGER_SECONDS", 0.02)
    server, client = ends
    SocketTransport(server, poller, is_chunked=True).end(Payload(b"a"))
    await until_empty(poller)
    assert server.fileno() == -1
    assert await read(client) == b"1\r\na\r\n" + LAST_CHUNK


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_is_reported_once(poller: Poller, ends: Ends, how: str) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    owner = Owner(transport)
    if how == "half-close":
        client.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert await owner.report() == Loss.LEFT
    assert server.fileno() == -1
    assert owner.reports == [Loss.LEFT]


async def test_a_write_to_a_client_that_has_left_reports_it_and_not_from_within(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert transport.busy
    assert owner.reports == []
    assert await owner.report() == Loss.LEFT
    await until_empty(poller)
    assert owner.reports == [Loss.LEFT]


async def test_the_error_of_a_write_is_the_reason_although_the_socket_has_forgotten_it(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    owner = Owner(transport)
    client.close()  # which the poller is about to notice

    class TimedOut(socket.socket):
        def send(self, *_: object) -> int:
            raise TimeoutError(errno.ETIMEDOUT, "the kernel has given up on the client")

    with TimedOut(fileno=os.dup(server.fileno())) as timed_out:
        poller.remove(server)
        server.close()
        poller.add(timed_out, transport)
        transport._socket = timed_out
        transport.write(Payload(b"a"))
        assert await owner.report() == Loss.UNRESPONSIVE
    assert owner.reports == [Loss.UNRESPONSIVE]


async def test_a_client_that_left_before_the_stream_joined_is_reported_at_the_first_write(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    client.close()
    await until_empty(poller)
    owner = Owner(transport)
    transport.write(Payload(b"a"))
    assert owner.reports == []
    assert await owner.report() == Loss.LEFT


async def test_abort_drops_what_is_unsent_and_writes_to_no_other_socket(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    transport.write(LARGE)
    number = server.fileno()
    first, far_end = connected()
    transport.abort()
    transport.abort()
    transport.release()
    other = socket.socket(fileno=os.dup2(first.fileno(), number))  # the number is in use again
    with closing(first), closing(far_end), closing(other):
        transport.abort()
        transport.release()
        transport.writable()
        with pytest.raises(BlockingIOError):
            far_end.recv(1)
    with pytest.raises(ConnectionResetError):
        await read(client)


async def test_a_released_transport_reports_nothing_and_still_sends_what_it_was_given(
    poller: Poller, ends: Ends
) -> None:
    server, client = ends
    transport = SocketTransport(server, poller, is_chunked=True)
    owner = Owner(transport)
    transport.write(LARGE)
    transport.release()
    assert await read(client) == LARGE.coded
    assert not transport.busy
    assert owner.reports == []


async def test_an_owner_that_fails_costs_no_other_owner_its_event(
    poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [connected() for _ in range(3)]
    owners = [Owner(SocketTransport(server, poller, is_chunked=True)) for server, _ in pairs]

    def fail(loss: Loss = Loss.FAILED) -> None:
        raise RuntimeError("a fault of one owner")

    owners[1].lost = fail  # type: ignore[method-assign]
    for _, client in pairs:
        client.close()
    assert [await owners[number].report() for number in (0, 2)] == [Loss.LEFT] * 2
    await until_empty(poller)
    assert "transport.failed" in caplog.text


async def test_an_event_of_a_socket_that_was_closed_meanwhile_is_not_reported_to_its_successor(
    poller: Poller,
) -> None:
    """Both clients leave in one step; the first owner to hear of it closes the other's socket."""
    pairs = [connected() for _ in range(2)]
    transports = [SocketTransport(server, poller, is_chunked=True) for server, _ in pairs]
    owners = [Owner(transport) for transport in transports]
    successor, far_end = connected()
    successors: list[tuple[SocketTransport, Owner]] = []

    def replace(first: int, loss: Loss) -> None:
        owners[first].reports.append(loss)
        if not successors:
            number = pairs[1 - first][0].fileno()
            transports[1 - first].abort()
            reused = socket.socket(fileno=os.dup2(successor.fileno(), number))
            reused.setblocking(False)
            transport = SocketTransport(reused, poller, is_chunked=True)
            successors.append((transport, Owner(transport)))

    for number, owner in enumerate(owners):
        owner.lost = partial(replace, number)  # type: ignore[method-assign]
    for _, client in pairs:
        client.close()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not successors:  # noqa: ASYNC110 - the owners' own events are not used here
            await asyncio.sleep(0)
    with closing(successor), closing(far_end):
        [(transport, owner)] = successors
        transport.write(Payload(b"a"))
        assert await read(far_end, 6) == b"1\r\na\r\n"
        assert owner.reports == []
        transport.abort()


def count_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_streams_leave_no_descriptor_and_no_object_behind(poller: Poller) -> None:
    async def open_and_close(count: int) -> None:
        for number in range(count):
            server, client = connected()
            transport = SocketTransport(server, poller, is_chunked=True)
            weakref.finalize(server, freed.append, number)
            Owner(transport)
            transport.write(Payload(b"a"))
            if number % 3 == 0:
                transport.abort()
            elif number % 3 == 1:
                transport.end(Payload(b"b"))
            transport.release()
            client.close()
            await asyncio.sleep(0)
        del server, transport
        await until_empty(poller)

    freed: list[int] = []
    await open_and_close(30)
    gc.collect()
    gc.disable()
    try:
        freed.clear()
        descriptors = count_descriptors()
        await open_and_close(600)
        assert len(freed) == 600
    finally:
        gc.enable()
    assert count_descriptors() == descriptors
