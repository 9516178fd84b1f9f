"""Streams whose sockets are taken out of each server that is known.

These tests fail first if the internals of a server change.
"""

import json
import resource
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from notifications.transport import pollers
from notifications.transport.base import receive_disconnect, send_nothing
from notifications.transport.detach import detach
from tests.harness.certificates import write_certificate
from tests.harness.fakes import FakeServerConnection
from tests.harness.servers import WebServer, free_port, web_server
from tests.harness.started_once import Start, started_once

DEADLINE_SECONDS = 60.0
SITE = "tests.harness.transport_site:application"
UVICORN = {
    f"uvicorn-{http}-{loop}": ["uvicorn", SITE, "--http", http, "--loop", loop]
    for http in ("h11", "httptools")
    for loop in ("asyncio", "uvloop")
}
KINDS = [*UVICORN, "daphne"]
CHUNK_BYTES = 64 * 1024


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    def begin(kind: str) -> AbstractContextManager[WebServer]:
        folder = tmp_path_factory.mktemp(kind)
        return web_server(_command(kind, folder), redis_url="", folder=folder)

    with started_once(begin) as start:
        yield start


def _command(kind: str, folder: Path) -> list[str]:
    if kind == "daphne":
        return ["daphne", SITE, "--access-log", str(folder / "access.log")]
    return UVICORN[kind]


@dataclass(frozen=True)
class Server:
    """A running server: one of `KINDS`, and its port."""

    kind: str
    port: int


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, start: Start) -> Server:
    return Server(request.param, start(request.param).port)


def _expected(*, count: int = 0, size: int = 1, transport: str = "SocketTransport") -> bytes:
    payloads = b"".join(bytes([65 + i % 26]) * size for i in range(count))
    return transport.encode() + b"\n" + payloads + b"end\n"


def _get(connection: HTTPConnection, path: str) -> tuple[Any, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response, response.read()


def _reports(server: Server) -> list[dict[str, Any]]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        reports: list[dict[str, Any]] = json.loads(_get(connection, "/reports")[1])
        return reports


def _connect(server: Server, request: str, *, buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(DEADLINE_SECONDS)
    client.connect(("127.0.0.1", server.port))
    client.sendall(request.encode())
    return client


def _read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(16384):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("forwarded", ["http", "https"])
def test_payloads_bypass_send_and_the_connection_closes_as_announced(
    server: Server, forwarded: str
) -> None:
    # The scheme of the scope is that of the proxy's client, and says nothing about this connection.
    request = (
        "GET /stream?count=3&size=100 HTTP/1.1\r\nHost: x\r\n"
        f"X-Forwarded-Proto: {forwarded}\r\n\r\n"
    )
    with _connect(server, request) as client:
        head, _, remainder = _read_all(client).partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower().split(b"\r\n")
    assert b"transfer-encoding: chunked" in head.lower().split(b"\r\n")
    assert _split_chunked(remainder) == (_expected(count=3, size=100), b"")


def test_a_slow_client_receives_everything_and_one_chunk_is_held_for_it(server: Server) -> None:
    count = 10
    # What a client sends after its request is discarded, and resets nothing.
    more = "GET /reports HTTP/1.1\r\nHost: x\r\n\r\n" * 500
    with _connect(
        server,
        f"GET /stream?count={count}&size={CHUNK_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n{more}",
        buffer=16384,
    ) as client:
        _, _, remainder = _read_all(client).partition(b"\r\n\r\n")
    assert _split_chunked(remainder) == (_expected(count=count, size=CHUNK_BYTES), b"")
    last = _reports(server)[-1]
    assert "drained" in last["reports"]
    assert 0 < last["buffered"] <= CHUNK_BYTES + 100


def _split_chunked(data: bytes) -> tuple[bytes, bytes]:
    """A decoded chunked body, and the bytes after it."""
    pieces: list[bytes] = []
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        piece, end, data = data[:length], data[length : length + 2], data[length + 2 :]
        assert end == b"\r\n"
        if not length:
            return b"".join(pieces), data
        pieces.append(piece)


def test_a_client_of_http_1_0_gets_no_chunks(server: Server) -> None:
    # RFC 9112 §6.1
    with _connect(server, "GET /stream?count=3&size=100 HTTP/1.0\r\nHost: x\r\n\r\n") as client:
        head, _, body = _read_all(client).partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert body == _expected(count=3, size=100)


def test_the_response_to_head_stays_with_the_server(server: Server) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        connection.request("HEAD", "/stream?count=3")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
        assert response.getheader("Connection") != "close"


@pytest.mark.parametrize("wrapper", ["function", "proxy"])
def test_a_wrapped_send_gets_an_asgi_transport(server: Server, wrapper: str) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        response, body = _get(connection, f"/stream?count=3&size=100&wrapped={wrapper}")
    assert response.getheader("Connection") != "close"
    assert body == _expected(count=3, size=100, transport="AsgiTransport")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_without_a_descriptor_a_stream_stays_with_its_server(server: Server, version: str) -> None:
    path = "/stream?count=3&size=100&no_descriptors=1"
    with _connect(server, f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n") as client:
        _, _, body = _read_all(client).partition(b"\r\n\r\n")
    if version == "1.1":
        body, _ = _split_chunked(body)
    kind = "DaphneTransport" if server.kind == "daphne" else "UvicornTransport"
    assert body == _expected(count=3, size=100, transport=kind)


def test_a_stream_that_is_broken_off_has_no_last_chunk(server: Server) -> None:
    request = "GET /stream?count=3&size=100&break_off=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    with _connect(server, request) as client:
        _, _, body = _read_all(client).partition(b"\r\n\r\n")
    assert body.endswith(b"\r\nend\n\r\n")
    assert _split_chunked(body + b"0\r\n\r\n") == (_expected(count=3, size=100), b"")


def test_a_close_resets_nothing_and_no_task_is_left_of_a_stream(server: Server) -> None:
    before = _reports(server)
    with _connect(server, "GET /stream?repeat=1 HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        received = b""
        while b"again" not in received:
            received += client.recv(1024)
        last = _reports(server)[-1]
        # Twisted sets SO_LINGER in the socket when it closes its own descriptor.
        assert last["linger"] == [0, 0]
        assert not before or last["tasks"] <= before[-1]["tasks"]


def test_a_client_that_pipelines_and_resets_is_reported_lost_once_and_not_within_a_write(
    server: Server,
) -> None:
    # So many requests that Daphne stops reading.
    more = "GET /reports HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    with _connect(server, "GET /stream?repeat=1 HTTP/1.1\r\nHost: x\r\n\r\n" + more) as client:
        assert client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        ended = _reports(server)[-1:]  # none yet, if this stream is the first of its server
        if ended and ended[0]["reports"][-1:] == ["lost"]:
            break
    assert ended[0]["reports"].count("lost") == 1


async def test_a_process_without_a_descriptor_for_its_poller_loses_no_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pollers, "_pollers", {})  # those of earlier tests would be closed
    ours, client = socket.socketpair()
    with closing(ours), closing(client):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with closing(socket.socket()) as lowest:
            free = lowest.fileno()
        # One descriptor is left, for the socket.
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))
        try:
            detaching = detach(
                FakeServerConnection(ours),
                receive_disconnect,
                send_nothing,
                deadline=DEADLINE_SECONDS,
            )
            assert await detaching is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        ours.send(b"the server still has it")
        assert client.recv(100) == b"the server still has it"


@pytest.mark.parametrize("kind", ["uvicorn-h11-asyncio", "uvicorn-httptools-uvloop", "daphne"])
def test_tls_goes_through_the_server(kind: str, tmp_path: Path) -> None:
    trusted, key = write_certificate(tmp_path)
    port = free_port()
    if kind == "daphne":
        endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={trusted}"
        command = ["daphne", SITE, "-e", endpoint]
    else:
        command = [*UVICORN[kind], "--ssl-certfile", str(trusted), "--ssl-keyfile", str(key)]
    context = ssl.create_default_context(cafile=str(trusted))
    with web_server(command, redis_url="", folder=tmp_path) as server:
        if kind != "daphne":
            port = server.port
        connection = HTTPSConnection("localhost", port, timeout=DEADLINE_SECONDS, context=context)
        with closing(connection):
            _connect_with_retries(connection)
            _, body = _get(connection, "/stream?count=3&size=100000")
    # Bytes that bypassed the server here would not be encrypted.
    transport = "DaphneTransport\n" if kind == "daphne" else "UvicornTransport\n"
    assert body.startswith(transport.encode())
    assert len(body) == len(transport) + 300_000 + len("end\n")


def _connect_with_retries(connection: HTTPConnection) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            connection.connect()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        else:
            return
