"""Chunks on the wire: each is there when it was yielded, under every kind of server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.harness.demo_site import CLOSED, GO_ON, PAUSE, ROWS
from tests.harness.manage import served
from tests.harness.servers import START_DEADLINE, environment, listening, web_server

DEADLINE = 20.0
SETTINGS = "tests.harness.demo_settings"
NO_REDIS = "redis://127.0.0.1:1/0"

PAGES = {
    "sync": ("/sync/", "<li>{}</li>"),
    "async": ("/async/", "<li>{}</li>"),
    "template": ("/template/?question=%3C", "[&lt;{}]"),
}


@dataclass
class Site:
    kind: str
    port: int
    lines: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]

    @asynccontextmanager
    async def source(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """The line to what makes the chunks. It gives up when this ends."""
        told, go_on = await self.lines.get()
        try:
            yield told, go_on
        finally:
            go_on.close()
            with suppress(ConnectionError):
                await go_on.wait_closed()


@pytest.fixture(scope="module")
def side() -> Iterator[socket.socket]:
    """Where sources call, held for as long as one of their servers runs."""
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module", params=["daphne", "uvicorn", "wsgi"])
def server(
    request: pytest.FixtureRequest, side: socket.socket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    channel = str(side.getsockname()[1])
    given = {"DJANGO_SETTINGS_MODULE": SETTINGS, "SIDE_CHANNEL": channel, "PORT": "0"}
    with ExitStack() as stack:
        if request.param == "wsgi":
            command = ["tests.harness.wsgi_server"]
            wsgi = web_server(command, redis_url=NO_REDIS, folder=folder, settings=given)
            port = stack.enter_context(wsgi).port
        else:
            env = environment(NO_REDIS, folder, given)
            command = ["serve", "--server", request.param]
            serve = stack.enter_context(served(*command, environment=env))
            stack.callback(serve.end)
            port = serve.port
        # Up before the deadline of a test's own begins.
        httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=START_DEADLINE)
        yield request.param, port


@pytest.fixture
async def site(server: tuple[str, int], side: socket.socket) -> AsyncIterator[Site]:
    site = Site(*server, asyncio.Queue())

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.lines.put_nowait((reader, writer))

    channel = await asyncio.start_server(connected, sock=side.dup())
    yield site
    channel.close()


@asynccontextmanager
async def getting(site: Site, path: str) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b" 200 " in await reader.readline()
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("page", PAGES)
async def test_each_chunk_is_there_before_the_next_is_made(site: Site, page: str) -> None:
    path, row = PAGES[page]
    async with asyncio.timeout(DEADLINE), getting(site, path) as stream:
        async with site.source() as (told, go_on):
            for number in range(ROWS):
                before = await stream.readuntil(row.format(number).encode())
                assert row.format(number + 1).encode() not in before
                go_on.write(GO_ON)
            assert await told.read() == CLOSED
        await stream.readuntil(b"</html>")


@pytest.mark.parametrize("page", PAGES)
async def test_who_leaves_ends_the_work(site: Site, page: str) -> None:
    path, row = PAGES[page]
    async with asyncio.timeout(DEADLINE), AsyncExitStack() as stack:
        async with getting(site, path) as stream:
            told, go_on = await stack.enter_async_context(site.source())
            await stream.readuntil(row.format(0).encode())
        if site.kind == "wsgi" or page == "sync":
            # A thread that waits for something hears nothing else, and WSGI only what it writes.
            go_on.write(GO_ON * ROWS)
        assert await told.read() == CLOSED


@pytest.mark.parametrize("page", ["sync", "async"])
async def test_chunks_come_at_the_pace_of_their_source(site: Site, page: str) -> None:
    rounds = b"<li>1 2 3 4 5 6</li>"
    took = 0.0
    for _ in range(3):  # the one who listens may have been held up
        async with asyncio.timeout(DEADLINE), getting(site, f"/timed/{page}/") as stream:
            await stream.readuntil(rounds)
            began = time.monotonic()
            await stream.readuntil(rounds)
            took = max(took, time.monotonic() - began)
        if took > 12 * PAUSE / 2:
            return
    pytest.fail(f"All came within {took:.2f} s.")
