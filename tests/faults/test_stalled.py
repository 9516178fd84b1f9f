"""Clients that do not read, or leave in a way that is hard to notice: others see nothing of it."""

import asyncio
import ctypes
import re
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.site import publish
from tests.harness.event_source import DEADLINE, Stream, subscribe
from tests.harness.servers import SERVERS, RedisServer, WebServer, uvicorn

MIB = 1024 * 1024
EVENT = 60_000
BATCH = 8
STALLED = 10
PUBLISHED = 50 * MIB
GROWTH = 24 * MIB
"""Of all the process, whatever is published: ten that do not read are worth a chunk each."""
DELAY = 2.0
KEEPALIVE = 1.0
WRITE_DEADLINE = 3.0
SLACK = 2.0
"""What a busy machine takes."""


pytestmark = pytest.mark.usefixtures("swift_loop")


@contextmanager
def _server(
    kind: str, redis: RedisServer, folder: Path, *, history: int = MIB
) -> Iterator[WebServer]:
    with SERVERS[kind](
        redis.url,
        folder,
        DJANGO_SETTINGS_MODULE="tests.faults.short_deadline_settings",
        CARILLON_KEEPALIVE=str(KEEPALIVE),
        CARILLON_HISTORY_BYTES=str(history),
    ) as server:
        yield server


def _connect(port: int, topic: str, *, requests: int = 1) -> socket.socket:
    """Ask for a stream, and read nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", port))
    client.sendall(
        f"GET /events/?topic={topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * requests
    )
    return client


def _reasons(web: WebServer) -> list[str]:
    """Why streams were closed so far."""
    return re.findall(r"stream\.closed reason=(\w+)", web.log.read_text())


async def _until(web: WebServer, condition: Callable[[], bool]) -> None:
    """The server answers meanwhile."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.to_thread(web.get, "/health/live")


def _clients(web: WebServer) -> set[tuple[object, ...]]:
    """Whom it holds a connection to, whatever state that is in."""
    return {tuple(each.raddr) for each in psutil.Process(web.pid).net_connections("tcp4")}


@asynccontextmanager
async def _reading(web: WebServer, topic: str) -> AsyncIterator[Stream]:
    async with subscribe(web.port, topic) as stream:
        assert (await stream.next()).type == "stream.cursor"
        yield stream


async def _publish_past(stream: Stream, publisher: WebServer, topic: str, size: int) -> float:
    """Publish so many bytes that the stream reads; the longest that it had to wait for a batch."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    for _ in range(size // (BATCH * EVENT)):
        cursors = await publish(publisher, topic, *["x" * EVENT] * BATCH)
        acknowledged = loop.time()
        for cursor in cursors:
            assert (await stream.next_event()).id == cursor
        longest = max(longest, loop.time() - acknowledged)
    return longest


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_clients_that_do_not_read_delay_nobody_cost_little_and_are_closed(
    kind: str, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        web = stack.enter_context(_server(kind, redis, tmp_path / "web"))
        publisher = stack.enter_context(uvicorn(redis.url, tmp_path / "publisher"))
        async with _reading(web, topic) as stream:
            await _publish_past(stream, publisher, topic, PUBLISHED // 5)
            memory = psutil.Process(web.pid).memory_info().rss
            for _ in range(STALLED):
                stack.enter_context(_connect(web.port, topic))
            delay = await _publish_past(stream, publisher, topic, PUBLISHED)
            grown = psutil.Process(web.pid).memory_info().rss - memory
            print(f"{delay=:.3f} s, grown={grown / MIB:.1f} MiB")  # noqa: T201
            assert delay < DELAY
            assert grown < GROWTH
            await _until(web, lambda: len(_reasons(web)) == STALLED)
            assert set(_reasons(web)) <= {"too_slow", "fell_behind"}


@pytest.mark.parametrize("kind", sorted(SERVERS))
async def test_a_client_that_pipelines_a_request_and_leaves_is_freed(
    kind: str, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with _server(kind, redis, tmp_path) as web:
        async with _reading(web, topic) as stream:
            await _publish_past(stream, web, topic, MIB)  # on connections that it then keeps
            with _connect(web.port, topic, requests=2) as client:
                assert client.recv(1)
                address = client.getsockname()
                assert address in _clients(web)
            await _until(web, lambda: len(_reasons(web)) == 1)
            await _until(web, lambda: address not in _clients(web))
            await publish(web, topic, "go on")
            assert (await stream.next_event()).data == "go on"


@pytest.mark.parametrize("kind", sorted(SERVERS))
@pytest.mark.parametrize("requests", [1, 2], ids=["one request", "pipelined"])
async def test_a_client_that_does_not_read_is_freed_by_the_write_deadline(
    kind: str, requests: int, redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    with _server(kind, redis, tmp_path, history=64 * MIB) as web:
        async with _reading(web, topic) as stream:
            await _publish_past(stream, web, topic, MIB)
            with _connect(web.port, topic, requests=requests) as client:
                address = client.getsockname()
                await _publish_past(stream, web, topic, 16 * MIB)
                await _until(web, lambda: _reasons(web) == ["too_slow"])
                await _until(web, lambda: address not in _clients(web))


SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("HBBI", 6, 0, 0, 0)  # BPF: return 0 bytes of whatever comes


def _vanish(client: socket.socket) -> None:
    """Nothing reaches it and nothing is acknowledged any more, as if its machine were gone."""
    program = ctypes.create_string_buffer(DROP_ALL)
    option = struct.pack("HP", 1, ctypes.addressof(program))
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux, and a timeout of Linux")
async def test_a_client_that_vanished_without_a_word_is_gone_after_a_keep_alive_and_the_deadline(
    redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        webs = [stack.enter_context(_server(kind, redis, tmp_path / kind)) for kind in SERVERS]
        addresses = []
        for web in webs:
            async with _reading(web, topic):
                pass
            await _until(web, lambda web=web: len(_reasons(web)) == 1)  # type: ignore[misc]
            client = stack.enter_context(_connect(web.port, topic))
            assert client.recv(1)
            addresses.append(client.getsockname())
            assert addresses[-1] in _clients(web)
            _vanish(client)
        vanished = loop.time()
        for web, address in zip(webs, addresses, strict=True):
            await _until(web, lambda web=web: len(_reasons(web)) == 2)  # type: ignore[misc]
            await _until(web, lambda web=web, address=address: address not in _clients(web))  # type: ignore[misc]
            assert _reasons(web)[-1] == "too_slow"
        assert loop.time() - vanished < 1.25 * KEEPALIVE + WRITE_DEADLINE + SLACK
