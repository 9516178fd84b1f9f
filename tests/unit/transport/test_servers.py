"""Direct wires under every server that they know: they fail here first if its insides move."""

import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.harness.certificates import certificate
from tests.harness.servers import WebServer, free_port, web_server

DEADLINE = 20.0
SITE = "tests.harness.transport_site:application"
UVICORN = {
    f"uvicorn-{http}-{loop}": ["uvicorn", SITE, "--http", http, "--loop", loop]
    for http in ("h11", "httptools")
    for loop in ("asyncio", "uvloop")
}
KINDS = [*UVICORN, "daphne"]
CHUNK = 64 * 1024

type Start = Callable[[str], WebServer]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Each server is started when it is first asked for."""
    running: dict[str, WebServer] = {}
    with ExitStack() as stack:

        def started(kind: str) -> WebServer:
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind)
                running[kind] = stack.enter_context(
                    web_server(_command(kind, folder), redis_url="", folder=folder)
                )
            return running[kind]

        yield started


def _command(kind: str, folder: Path) -> list[str]:
    if kind == "daphne":
        return ["daphne", SITE, "--access-log", str(folder / "access.log")]
    return UVICORN[kind]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, start: Start) -> WebServer:
    server = start(request.param)
    server.kind = request.param  # type: ignore[attr-defined]
    return server


def _kind(server: WebServer) -> str:
    return str(server.kind)  # type: ignore[attr-defined]


def _direct(server: WebServer) -> str:
    """What the first line of a stream says if its bytes go past `send`.

    uvloop's transport has no socket to write to, and needs none.
    """
    if _kind(server) == "daphne":
        return "DaphneTransport True\n"
    return f"DirectUvicornTransport {'uvloop' not in _kind(server)}\n"


def _expected(server: WebServer, *, count: int = 0, size: int = 1) -> bytes:
    payloads = b"".join(bytes([65 + i % 26]) * size for i in range(count))
    return _direct(server).encode() + payloads + b"end\n"


def _get(connection: HTTPConnection, path: str) -> tuple[Any, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response, response.read()


def _told(server: WebServer) -> list[dict[str, Any]]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)) as connection:
        told: list[dict[str, Any]] = json.loads(_get(connection, "/told")[1])
        return told


def _connect(server: WebServer, request: str, *, buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", server.port))
    client.sendall(request.encode())
    return client


def _read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(16384):
        pieces.append(piece)
    return b"".join(pieces)


def test_bytes_go_past_send_and_the_connection_is_used_again(server: WebServer) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)) as connection:
        before = None
        for count in (3, 0, 1):
            response, body = _get(connection, f"/stream?count={count}&size=100")
            assert response.getheader("Transfer-Encoding") == "chunked"
            assert body == _expected(server, count=count, size=100)
            assert before in (None, connection.sock), "a connection of its own"
            before = connection.sock
        assert before is not None
        response, _ = _get(connection, "/told")
        assert response.status == 200


def test_a_client_that_reads_slowly_gets_all_and_one_chunk_is_held_for_it(
    server: WebServer,
) -> None:
    count = 10
    with _connect(
        server,
        f"GET /stream?count={count}&size={CHUNK} HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /told HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        buffer=16384,
    ) as client:
        answer = _read_all(client)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"chunked" in head.lower()
    body, then = _decoded(rest)
    assert body == _expected(server, count=count, size=CHUNK)
    assert then.startswith(b"HTTP/1.1 200 "), "the connection is used again"
    told = json.loads(then.partition(b"\r\n\r\n")[2])[-1]
    assert "drained" in told["news"]
    assert 0 < told["held"] <= CHUNK + 100


def _decoded(data: bytes) -> tuple[bytes, bytes]:
    """A chunked body, and what comes after it."""
    pieces: list[bytes] = []
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        piece, end, data = data[:length], data[length : length + 2], data[length + 2 :]
        assert end == b"\r\n"
        if not length:
            return b"".join(pieces), data
        pieces.append(piece)


def test_a_client_of_http_1_0_gets_what_its_server_gives_to_such_clients(
    server: WebServer,
) -> None:
    with _connect(server, "GET /stream?count=3&size=100 HTTP/1.0\r\nHost: x\r\n\r\n") as client:
        head, _, body = _read_all(client).partition(b"\r\n\r\n")
    coded = "httptools" in _kind(server)
    assert (b"chunked" in head.lower()) == coded
    if coded:
        body, _ = _decoded(body)
    assert body == _expected(server, count=3, size=100)


def test_a_send_that_somebody_wrapped_is_left_alone(server: WebServer) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)) as connection:
        _, body = _get(connection, "/stream?count=3&size=100&wrapped=1")
    assert body.startswith(b"AsgiTransport False\n")
    assert body.endswith(b"end\n")


def test_one_that_is_hung_up_on_gets_its_last_words_and_the_connection_is_closed(
    server: WebServer,
) -> None:
    with _connect(
        server, "GET /stream?count=3&size=100&hang_up=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    ) as client:
        body, then = _decoded(_read_all(client).partition(b"\r\n\r\n")[2])
    assert body == _expected(server, count=3, size=100)
    assert then == b""


def test_one_that_pipelines_and_resets_is_lost_and_not_told_so_within_a_write(
    server: WebServer,
) -> None:
    more = "GET /told HTTP/1.1\r\nHost: x\r\n\r\n" * 1000  # enough for Daphne to stop reading
    with _connect(server, "GET /stream?nag=1 HTTP/1.1\r\nHost: x\r\n\r\n" + more) as client:
        assert client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        told = _told(server)[-1]
        if told["news"][-1:] == ["lost"]:
            break
    assert told["news"].count("lost") == 1


def test_daphne_logs_how_much_it_sent_though_it_was_sent_past_it(start: Start) -> None:
    server = start("daphne")
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)) as connection:
        _, body = _get(connection, "/stream?count=7&size=77")
        _get(connection, "/told")
    log = (server.log.parent / "access.log").read_text()
    assert f'"GET /stream?count=7&size=77" 200 {len(body)}' in log


@pytest.mark.parametrize("kind", ["uvicorn-h11-asyncio", "uvicorn-httptools-uvloop", "daphne"])
def test_tls_goes_by_way_of_the_server(kind: str, tmp_path: Path) -> None:
    trusted, key = certificate(tmp_path)
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
        connection = HTTPSConnection("localhost", port, timeout=DEADLINE, context=context)
        with closing(connection):
            _until_connected(connection)
            _, body = _get(connection, "/stream?count=3&size=100000")
    # Whatever goes past the server here would go in the clear.
    transport = "DaphneTransport False\n" if kind == "daphne" else "UvicornTransport False\n"
    assert body.startswith(transport.encode())
    assert len(body) == len(transport) + 300_000 + len("end\n")


def _until_connected(connection: HTTPConnection) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            connection.connect()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        else:
            return
