"""Streams whose sockets have left their servers, from the outside: heads, ends and the log."""

import asyncio
import re
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.end_to_end.test_freed import COMMANDS, objects, open_stream, read_to_end
from tests.harness.event_source import subscribe
from tests.harness.servers import NO_REDIS, WebServer, free_port, wait_until_ready, web_server
from tests.harness.started_once import Start, started_once

KINDS = ["daphne", "uvicorn-h11-asyncio", "uvicorn-httptools-uvloop"]
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
WRITE_DEADLINE_SECONDS = "2"
SMALL_BUFFER = 4096
REPEATED = 5
STREAM = "/events/?topic=demo.a&topic=demo.b"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.harness.memory_settings"}
    settings["CARILLON_WRITE_DEADLINE"] = WRITE_DEADLINE_SECONDS

    def begin(kind: str) -> AbstractContextManager[WebServer]:
        folder = tmp_path_factory.mktemp(kind)
        return web_server(COMMANDS[kind], redis_url=NO_REDIS, folder=folder, settings=settings)

    with started_once(begin) as start:
        yield start


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, start: Start) -> WebServer:
    return start(request.param)


def test_the_response_to_head_ends_and_its_connection_serves_the_next_request(
    server: WebServer,
) -> None:
    before = objects(server)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        for path in [STREAM, "/of-the-site/"] * REPEATED:
            connection.request("HEAD", path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
            assert response.getheader("Content-Type") == "text/event-stream"
            assert response.getheader("Connection") != "close"
            assert connection.sock is not None
    assert "notifications.hub.subscribers.Subscriber" not in objects(server) - before


def test_the_line_of_a_stream_that_ended_is_an_access_log(server: WebServer) -> None:
    lines = len(server.log.read_text().splitlines())
    started_at = time.monotonic()
    with open_stream(server, STREAM) as client:
        address = client.getsockname()[0]
        assert server.get("/end", Connection="close")[0] == 200
        read_to_end(client)
    seconds = time.monotonic() - started_at
    [line] = [
        line for line in server.log.read_text().splitlines()[lines:] if "stream.closed" in line
    ]
    fields = dict(re.findall(r"(\w+)=(\S+)", line))
    assert fields["reason"] == "kicked"
    assert fields["topics"] == "2"
    assert fields["address"].strip('"') == address
    assert 0 <= float(fields["seconds"]) <= seconds
    # The head and the opening block, at most a KiB, without the end that is still to come.
    assert 200 < int(fields["bytes"]) < 1500


def is_reset(client: socket.socket) -> bool:
    """Whether the server has reset the connection; it tells that also to a client that does not
    read."""
    poll = select.poll()
    poll.register(client, select.POLLERR | select.POLLHUP)
    return bool(poll.poll(POLL_SECONDS * 1000))


def test_a_client_that_never_takes_the_head_is_cut_off_and_nothing_is_left(
    server: WebServer,
) -> None:
    """It does not read the large response to the request before, and so gets no head."""
    open_stream(server, STREAM).close()
    before = objects(server)
    requests = "".join(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in ("/large", STREAM)
    )
    clients = []
    with ExitStack() as stack:
        for _ in range(REPEATED):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            client.connect(("127.0.0.1", server.port))
            client.sendall(requests.encode())
            clients.append(client)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not all(map(is_reset, clients)):
            assert time.monotonic() < deadline, "A client that reads nothing keeps its connection."
    while left := {n for n, number in (objects(server) - before).items() if number >= REPEATED}:
        assert time.monotonic() < deadline, left
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "without" not in log  # uvicorn: "returned without completing response"


async def test_each_of_two_event_loops_in_threads_has_its_own_streams(tmp_path: Path) -> None:
    other = free_port()
    settings = {"DJANGO_SETTINGS_MODULE": "tests.harness.memory_settings"}
    command = ["tests.harness.two_loops", str(other)]
    with web_server(command, redis_url=NO_REDIS, folder=tmp_path, settings=settings) as server:
        await asyncio.to_thread(wait_until_ready, server.port)
        async with subscribe(server.port, "demo.x") as first, subscribe(other, "demo.x") as second:
            for stream in (first, second):
                assert (await stream.next()).type == "stream.cursor"
            await publish(server, "one")
            for stream in (first, second):
                assert (await stream.next_event()).data == "one"
            server.popen.send_signal(signal.SIGTERM)
            assert (await first.next_event()).type == "stream.closing"
            second_server = WebServer(server.popen, other, server.log)
            await publish(second_server, "two")
            assert (await second.next_event()).data == "two"
            server.popen.send_signal(signal.SIGTERM)
            assert (await second.next_event()).type == "stream.closing"
        assert await asyncio.to_thread(server.popen.wait, DEADLINE_SECONDS) == 0
        assert "Traceback" not in server.log.read_text()


async def publish(server: WebServer, data: str) -> None:
    status, _ = await asyncio.to_thread(server.publish, {"topic": "demo.x", "data": data})
    assert status == 201
