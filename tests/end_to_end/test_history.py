"""History from real servers: whole, cut off at an error, and no faster than it is read."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import psutil
import pytest

from tests.harness.event_source import Stream
from tests.harness.history import fill
from tests.harness.servers import COMMANDS, RedisServer, WebServer, redis_server, web_server

ROWS = 60_000
TOPIC = "demo.rows"
FIRST = {"topic": TOPIC, "data": "first", "idempotency_key": "k"}
LOG = "{carillon}:log"
PATH = f"/events/history.csv?topic={TOPIC}&since=all"
MIB = 1024 * 1024
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
BUFFER_BYTES = 64 * 1024


@dataclass
class Site:
    server: WebServer
    redis: RedisServer

    def known(self) -> int:
        """How many events the process has read, by its own count."""
        _, headers, _ = self.server.request("HEAD", PATH, headers={})
        lower = {name.lower(): value for name, value in headers.items()}
        return int(lower.get("carillon-rows", 0))

    @contextmanager
    def reads(self) -> Iterator[Callable[[], int]]:
        """How often the log has been read so far, not counting the reads of its own script."""
        with (
            self.redis.client() as client,
            self.redis.client() as other,
            client.monitor() as monitor,
        ):
            counted = 0

            def calls() -> int:
                nonlocal counted
                mark = token_hex()
                other.echo(mark)
                while mark not in (command := monitor.next_command())["command"]:
                    counted += (
                        command["command"].startswith("XRANGE")
                        and "lua" not in command["client_type"]
                    )
                return counted

            yield calls

    @contextmanager
    def log_unreadable(self) -> Iterator[None]:
        with self.redis.client() as client:
            # At once: a process that found no log at all would begin a new one.
            client.pipeline(transaction=True).rename(LOG, "elsewhere").set(
                LOG, "no stream"
            ).execute()
            try:
                yield
            finally:
                client.rename("elsewhere", LOG)
                wait_for(lambda: self.known() > ROWS)


@pytest.fixture(scope="module", params=sorted(COMMANDS))
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    command = COMMANDS[request.param]
    folder: Path = tmp_path_factory.mktemp("history")
    with (
        redis_server(folder / "redis") as redis,
        web_server(
            command, redis_url=redis.url, folder=folder, send_buffer=BUFFER_BYTES, fresh=True
        ) as server,
    ):
        site = Site(server, redis)
        wait_for(lambda: server.publish(FIRST)[0] != 503)
        with redis.client() as client:
            fill(client, TOPIC, ROWS)
        wait_for(lambda: site.known() > ROWS)
        yield site


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


async def everything(stream: Stream) -> bytes:
    pieces = []
    while piece := await stream.read():
        pieces.append(piece)
    return b"".join(pieces)


async def test_the_whole_history_comes_and_takes_no_memory(site: Site) -> None:
    process = psutil.Process(site.server.pid)
    async with asyncio.timeout(DEADLINE_SECONDS):
        lines = (await whole(site)).count(b"\r\n")
        assert lines == ROWS + 2
        before = process.memory_info().rss
        size = len(await whole(site))
    assert size > 4 * MIB
    assert process.memory_info().rss - before < 2 * MIB


async def whole(site: Site) -> bytes:
    """The whole history, read as fast as possible."""
    async with Stream(site.server.port, PATH) as stream:
        return await everything(stream)


async def test_the_log_is_read_as_fast_as_the_client_reads_and_no_more_after_it_leaves(
    site: Site,
) -> None:
    with site.reads() as reads:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await whole(site)
            reads_of_all = reads()
            async with Stream(site.server.port, PATH, receive_buffer=BUFFER_BYTES) as stream:
                await stream.read(100)
                # Without back-pressure the slow one would be read to its end beside this fast one.
                await whole(site)
                assert reads() - 2 * reads_of_all < reads_of_all / 2
                stream.cut()
                at_cut = reads()
                await whole(site)
                assert reads() - at_cut - reads_of_all < reads_of_all / 4


async def test_a_response_that_cannot_go_on_is_cut_off_and_not_ended(site: Site) -> None:
    async with Stream(site.server.port, PATH, receive_buffer=BUFFER_BYTES) as stream:
        await stream.read(1000)
        with site.log_unreadable(), pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            async with asyncio.timeout(DEADLINE_SECONDS):
                await read_to_proper_end(stream)


async def read_to_proper_end(stream: Stream) -> None:
    """Raises where the connection ends before the response does."""
    while await stream.read_or_raise():
        pass
