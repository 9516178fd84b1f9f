"""Direct transports under each server that they know.

These tests fail first if the internals of a server change.
"""

import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.harness.certificates import write_certificate
from tests.harness.servers import WebServer, free_port, web_server

DEADLINE_SECONDS = 20.0
SITE = "tests.harness.transport_site:application"
UVICORN = {
    f"uvicorn-{http}-{loop}": ["uvicorn", SITE, "--http", http, "--loop", loop]
    for http in ("h11", "httptools")
    for loop in ("asyncio", "uvloop")
}
KINDS = [*UVICORN, "daphne"]
CHUNK_BYTES = 64 * 1024

type Start = Callable[[str], WebServer]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts each server when a test first needs it; the servers end with the module."""
    running: dict[str, WebServer] = {}
    with ExitStack() as stack:

        def start_once(kind: str) -> WebServer:
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind)
                running[kind] = stack.enter_context(
                    web_server(_command(kind, folder), redis_url="", folder=folder)
                )
            return running[kind]

        yield start_once


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


def _direct_line(server: Server) -> str:
    """The first line of a stream whose bytes bypass `send`.

    uvloop's transport has no socket to write to, and needs none.
    """
    if server.kind == "daphne":
        return "DaphneTransport True\n"
    return f"DirectUvicornTransport {'uvloop' not in server.kind}\n"


def _expected(server: Server, *, count: int = 0, size: int = 1) -> bytes:
    payloads = b"".join(bytes([65 + i % 26]) * size for i in range(count))
    return _direct_line(server).encode() + payloads + b"end\n"


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


def test_payloads_bypass_send_and_the_connection_is_reused(server: Server) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        before = None
        for count in (3, 0, 1):
            response, body = _get(connection, f"/stream?count={count}&size=100")
            assert response.getheader("Transfer-Encoding") == "chunked"
            assert body == _expected(server, count=count, size=100)
            assert before in (None, connection.sock), "another connection"
            before = connection.sock
        assert before is not None
        response, _ = _get(connection, "/reports")
        assert response.status == 200


def test_a_slow_client_receives_everything_and_the_server_holds_one_chunk_for_it(
    server: Server,
) -> None:
    count = 10
    with _connect(
        server,
        f"GET /stream?count={count}&size={CHUNK_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /reports HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        buffer=16384,
    ) as client:
        responses = _read_all(client)
    headers, _, remainder = responses.partition(b"\r\n\r\n")
    assert b"chunked" in headers.lower()
    body, second_response = _split_chunked(remainder)
    assert body == _expected(server, count=count, size=CHUNK_BYTES)
    assert second_response.startswith(b"HTTP/1.1 200 "), "the connection is reused"
    last = json.loads(second_response.partition(b"\r\n\r\n")[2])[-1]
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


def test_a_client_of_http_1_0_gets_the_framing_that_its_server_uses_for_such_clients(
    server: Server,
) -> None:
    with _connect(server, "GET /stream?count=3&size=100 HTTP/1.0\r\nHost: x\r\n\r\n") as client:
        headers, _, body = _read_all(client).partition(b"\r\n\r\n")
    chunked = "httptools" in server.kind
    assert (b"chunked" in headers.lower()) == chunked
    if chunked:
        body, _ = _split_chunked(body)
    assert body == _expected(server, count=3, size=100)


def test_a_wrapped_send_gets_an_asgi_transport(server: Server) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        _, body = _get(connection, "/stream?count=3&size=100&wrapped=1")
    assert body.startswith(b"AsgiTransport False\n")
    assert body.endswith(b"end\n")


def test_a_client_that_is_hung_up_on_receives_the_end_and_the_connection_is_closed(
    server: Server,
) -> None:
    with _connect(
        server, "GET /stream?count=3&size=100&hang_up=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    ) as client:
        body, remainder = _split_chunked(_read_all(client).partition(b"\r\n\r\n")[2])
    assert body == _expected(server, count=3, size=100)
    assert remainder == b""


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
        reports = _reports(server)[-1]["reports"]
        if reports[-1:] == ["lost"]:
            break
    assert reports.count("lost") == 1


def test_daphne_logs_the_size_of_a_body_that_bypassed_it(start: Start) -> None:
    server = start("daphne")
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        _, body = _get(connection, "/stream?count=7&size=77")
        _get(connection, "/reports")
    log = (server.log.parent / "access.log").read_text()
    assert f'"GET /stream?count=7&size=77" 200 {len(body)}' in log


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
    transport = "DaphneTransport False\n" if kind == "daphne" else "UvicornTransport False\n"
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
