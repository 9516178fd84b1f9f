"""Clients that do not read, and what their server does with them."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil

from tests.harness.event_source import DEADLINE_SECONDS, Stream, subscribe
from tests.harness.servers import COMMANDS, RedisServer, WebServer, wait_until_ready, web_server

MIB = 1024 * 1024
KEEPALIVE_SECONDS = 1.0
WRITE_DEADLINE_SECONDS = 3.0
POLL_SECONDS = 0.05
RECEIVE_BUFFER_BYTES = 4096


@contextmanager
def server_of_kind(
    kind: str,
    redis: RedisServer,
    folder: Path,
    *,
    history: int = MIB,
    write_deadline: float = WRITE_DEADLINE_SECONDS,
    fresh: bool = False,
) -> Iterator[WebServer]:
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.faults.debug_settings",
        "CARILLON_KEEPALIVE": str(KEEPALIVE_SECONDS),
        "CARILLON_WRITE_DEADLINE": str(write_deadline),
        "CARILLON_HISTORY_BYTES": str(history),
    }
    with web_server(
        COMMANDS[kind], redis_url=redis.url, folder=folder, settings=settings, fresh=fresh
    ) as server:
        wait_until_ready(server.port)
        yield server


def stream_request(topic: str) -> bytes:
    return f"GET /events/?topic={topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def connect_without_reading(port: int, request: bytes) -> socket.socket:
    """Send a request with a small receive buffer; what comes is for the caller to read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    client.settimeout(DEADLINE_SECONDS)
    client.connect(("127.0.0.1", port))
    client.sendall(request)
    return client


def close_reasons(web: WebServer) -> list[str]:
    """The reasons of the streams that were closed so far."""
    return re.findall(r"stream\.closed reason=(\w+)", web.log.read_text())


def has_closed(web: WebServer, streams: int) -> bool:
    return len(close_reasons(web)) == streams


def is_connected(web: WebServer, address: tuple[object, ...]) -> bool:
    """Ask again if not: Linux may leave out a connection while others come and go in its table."""
    return address in connected_clients(web)


def is_disconnected(web: WebServer, address: tuple[object, ...]) -> bool:
    return not is_connected(web, address)


async def wait_until(web: WebServer, condition: Callable[[], bool]) -> None:
    """Wait for the condition; the server must answer meanwhile."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.to_thread(web.get, "/health/live")
            await asyncio.sleep(POLL_SECONDS)


def connected_clients(web: WebServer) -> set[tuple[object, ...]]:
    """The addresses of the clients to which it holds a connection, in any state."""
    return {tuple(each.raddr) for each in psutil.Process(web.pid).net_connections("tcp4")}


@asynccontextmanager
async def reading(web: WebServer, topic: str) -> AsyncIterator[Stream]:
    async with subscribe(web.port, topic) as stream:
        assert (await stream.next()).type == "stream.cursor"
        yield stream
