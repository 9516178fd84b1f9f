"""History from real servers: whole, cut where it ends too early, and no faster than it is read."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.filling import fill
from tests.servers import SERVERS, RedisServer, WebServer, redis_server
from tests.streams import Stream

ROWS = 60_000
TOPIC = "demo.rows"
LOG = "{carillon}:log"
PATH = f"/events/history.csv?topic={TOPIC}&since=all"
MIB = 1024 * 1024
DEADLINE = 60.0
ROOM = 64 * 1024


@dataclass
class Site:
    server: WebServer
    redis: RedisServer

    @contextmanager
    def reads(self) -> Iterator[Callable[[], int]]:
        """How often the log has been read so far."""
        with self.redis.client() as client:

            def calls() -> int:
                counted: int = client.info("commandstats")["cmdstat_xrange"]["calls"]
                return counted

            yield calls

    @contextmanager
    def log_unreadable(self) -> Iterator[None]:
        with self.redis.client() as client:
            client.rename(LOG, "elsewhere")
            client.set(LOG, "no stream")
            try:
                yield
            finally:
                client.rename("elsewhere", LOG)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    start: Any = SERVERS[request.param]
    folder: Path = tmp_path_factory.mktemp("history")
    with (
        redis_server(folder / "redis", options=("--appendfsync", "no")) as redis,
        start(redis.url, folder) as server,
    ):
        server.get("/health/live")
        with redis.client() as client, retried(server):
            fill(client, TOPIC, ROWS)
        yield Site(server, redis)


@contextmanager
def retried(server: WebServer) -> Iterator[None]:
    """The log has begun, however slow the machine is."""
    deadline = time.monotonic() + DEADLINE
    while server.publish({"topic": TOPIC, "data": "first", "idempotency_key": "k"})[0] == 503:
        assert time.monotonic() < deadline
    yield


async def everything(stream: Stream) -> bytes:
    pieces = []
    while piece := await stream.read():
        pieces.append(piece)
    return b"".join(pieces)


async def test_all_of_it_comes_and_takes_no_memory(site: Site) -> None:
    process = psutil.Process(site.server.pid)
    async with asyncio.timeout(DEADLINE):
        known = 0
        while known <= ROWS:  # until the process has read all of it, too
            async with Stream(site.server.port, PATH) as stream:
                assert stream.status == 200
                known = int(stream.headers["carillon-rows"])
                lines = (await everything(stream)).count(b"\r\n")
        assert lines == ROWS + 2
        before = process.memory_info().rss
        async with Stream(site.server.port, PATH) as stream:
            size = len(await everything(stream))
    assert size > 4 * MIB
    assert process.memory_info().rss - before < 2 * MIB


def answers(site: Site) -> None:
    """Long enough for whatever else the server has to do."""
    for _ in range(100):
        site.server.get("/health/live")


async def test_who_reads_slowly_has_the_log_read_slowly_and_who_leaves_ends_it(
    site: Site,
) -> None:
    with site.reads() as reads:
        before = reads()
        async with asyncio.timeout(DEADLINE), Stream(site.server.port, PATH, room=ROOM) as stream:
            await stream.read(100)
            settled = -1
            while (now := reads()) != settled:
                settled = now
                await asyncio.to_thread(answers, site)
            # What fits into the buffers of the two ends, and a chunk or two, was read.
            assert settled - before < ROWS / 500 * 0.9
            stream.cut()
            await asyncio.to_thread(answers, site)
            assert reads() - settled <= 3


async def test_what_cannot_go_on_is_cut_and_not_ended(site: Site) -> None:
    async with Stream(site.server.port, PATH, room=ROOM) as stream:
        await stream.read(1000)
        with site.log_unreadable(), pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            async with asyncio.timeout(DEADLINE):
                await to_the_proper_end(stream)


async def to_the_proper_end(stream: Stream) -> None:
    """Raises where the connection ends before the response does."""
    while await stream._piece(65536):
        pass
