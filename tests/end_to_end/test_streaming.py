"""Streamed responses: each chunk arrives when it is yielded, under every kind of server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.harness.demo_site import CLOSED, CONTINUE, ROW_PAUSE_SECONDS, ROWS
from tests.harness.manage import carillon_process
from tests.harness.servers import START_DEADLINE_SECONDS, environment, listening, web_server

DEADLINE_SECONDS = 60.0
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
        """The connection to the source of the chunks, which gives up when the block ends."""
        state, go_on = await self.lines.get()
        try:
            yield state, go_on
        finally:
            go_on.close()
            with suppress(ConnectionError):
                await go_on.wait_closed()


@pytest.fixture(scope="module")
def side() -> Iterator[socket.socket]:
    """The socket to which sources connect, open as long as one of their servers runs."""
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
            serve = stack.enter_context(carillon_process(*command, environment=env))
            stack.callback(serve.end)
            port = serve.port
        # Start it before the deadline of a test begins.
        httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=START_DEADLINE_SECONDS)
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
async def test_each_chunk_arrives_before_the_next_is_made(site: Site, page: str) -> None:
    path, row = PAGES[page]
    async with asyncio.timeout(DEADLINE_SECONDS), getting(site, path) as stream:
        async with site.source() as (state, go_on):
            for number in range(ROWS):
                before = await stream.readuntil(row.format(number).encode())
                assert row.format(number + 1).encode() not in before
                go_on.write(CONTINUE)
            assert await state.read() == CLOSED
        await stream.readuntil(b"</html>")


@pytest.mark.parametrize("page", PAGES)
async def test_a_client_that_leaves_ends_the_work(site: Site, page: str) -> None:
    path, row = PAGES[page]
    async with asyncio.timeout(DEADLINE_SECONDS), AsyncExitStack() as stack:
        async with getting(site, path) as stream:
            state, go_on = await stack.enter_async_context(site.source())
            await stream.readuntil(row.format(0).encode())
        if site.kind == "wsgi" or page == "sync":
            # A blocked thread notices nothing, and WSGI notices a disconnect only as it writes.
            go_on.write(CONTINUE * ROWS)
        assert await state.read() == CLOSED


@pytest.mark.parametrize("page", ["sync", "async"])
async def test_chunks_come_at_the_pace_of_their_source(site: Site, page: str) -> None:
    rounds = b"<li>1 2 3 4 5 6</li>"
    took = 0.0
    for _ in range(3):  # the client may have been delayed
        async with asyncio.timeout(DEADLINE_SECONDS), getting(site, f"/timed/{page}/") as stream:
            await stream.readuntil(rounds)
            began = time.monotonic()
            await stream.readuntil(rounds)
            took = max(took, time.monotonic() - began)
        if took > 12 * ROW_PAUSE_SECONDS / 2:
            return
    pytest.fail(f"All came within {took:.2f} s.")
