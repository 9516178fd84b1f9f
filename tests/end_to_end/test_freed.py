"""What is ours of a stream that ends is free at once, on each server.

The garbage collector of the servers is switched off: whatever ends up in a cycle stays.
"""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.harness.servers import NO_REDIS, WebServer, web_server
from tests.harness.started_once import Start, started_once

SITE = "tests.harness.memory_site:application"
COMMANDS = {
    "daphne": ["daphne", "-v", "0", SITE],
    **{
        f"uvicorn-{http}-{loop}": ["uvicorn", SITE, "--http", http, "--loop", loop]
        for http in ("h11", "httptools")
        for loop in ("asyncio", "uvloop")
    },
}
PATHS = {"ours": "/events/?topic=demo.a", "a view of the site": "/of-the-site/"}
STREAMS = 25
ATTEMPTS = 400
"""Daphne forgets a connection up to a second later."""
DEADLINE_SECONDS = 60.0

OF_DJANGOS_REQUEST = {
    "notifications.asgi.disconnect.DisconnectWatch",
    "notifications.asgi.handoff.Handoff",
    "notifications.asgi.responses.EventStreamResponse",
    "_asyncio.Task",
}
"""Empty shells. Django raises an exception group for each request, and the group's traceback is
in a cycle (before Python 3.13.1), which dies before the stream begins."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.harness.memory_settings"}

    def begin(kind: str) -> AbstractContextManager[WebServer]:
        folder = tmp_path_factory.mktemp(kind)
        return web_server(COMMANDS[kind], redis_url=NO_REDIS, folder=folder, settings=settings)

    with started_once(begin) as start:
        yield start


def open_stream(server: WebServer, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = b""
    while b"stream.cursor" not in received:
        data = client.recv(65_536)
        assert data, received
        received += data
    return client


def read_to_end(client: socket.socket) -> None:
    """A client that closes its connection with unread data resets it."""
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        data = client.recv(65_536)
        assert data, received
        received += data


def objects(server: WebServer) -> Counter[str]:
    status, numbers = server.get("/objects", Connection="close")
    assert status == 200
    return Counter(numbers)


def held(server: WebServer, before: Counter[str]) -> dict[str, int]:
    """The objects that there are more of than before, at least one for each stream."""
    return {name: n for name, n in (objects(server) - before).items() if n >= STREAMS}


@pytest.mark.parametrize("ended_by", ["the client", "the server"])
@pytest.mark.parametrize("view", PATHS)
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_stream_that_ended_is_freed_without_the_garbage_collector(
    kind: str, view: str, ended_by: str, start: Start
) -> None:
    server, path = start(kind), PATHS[view]
    open_stream(server, path).close()
    before = objects(server)
    clients = [open_stream(server, path) for _ in range(STREAMS)]
    while_open = held(server, before)
    assert while_open["notifications.hub.subscribers.Subscriber"] >= STREAMS
    if ended_by == "the server":
        assert server.get("/end", Connection="close")[0] == 200
        for client in clients:
            read_to_end(client)
    for client in clients:
        client.close()
    of_request = OF_DJANGOS_REQUEST if view == "a view of the site" else set()
    for _ in range(ATTEMPTS):
        left = held(server, before).keys() - of_request
        if not left:
            return
    pytest.fail(f"There are still {sorted(left)}.")
