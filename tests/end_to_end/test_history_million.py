"""A history of a million events takes the memory of a page, and is read only as it is sent."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappushpop

import psutil
import pytest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path
from pytest_django import Settings as DjangoSettings

from notifications.asgi import get_asgi_application
from notifications.conf import Settings
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.log.base import Log
from notifications.log.cursors import START, Cursor
from notifications.log.entries import Draft
from notifications.log.factory import open_log
from notifications.publishing.publisher import build_event
from notifications.streaming.responses import StreamedFile
from notifications.views.history.export import Export
from notifications.views.history.formats import CsvFormat
from notifications.views.history.view import chunks
from tests.harness.asgi import Connection
from tests.harness.history import fill
from tests.harness.servers import RedisServer

# All of them take three quarters of a minute on a busy machine of two cores.
ROWS = 1_000_000 if os.environ.get("TEST_MILLION_ROWS") else 200_000
TOPIC = "demo.rows"
MIB = 1024 * 1024
MAX_HELD_SECONDS = 0.02
SAMPLES = 3
DEADLINE_SECONDS = 240.0

_opened: list[Log] = []


async def whole_log(request: HttpRequest) -> HttpResponseBase:
    """As the view `history`, but from the start of the log, and without a window of a million."""
    (log,) = _opened
    until = await log.state()
    export = Export(log, Grant(topics=(TOPIC,)), Cursor(until.epoch, START), until)
    source = chunks(export, CsvFormat(until.epoch, frozenset({TOPIC})))
    return StreamedFile(source, content_type=CsvFormat.content_type)


urlpatterns = [path("whole", whole_log)]


@pytest.fixture
async def filled(redis: RedisServer) -> AsyncIterator[None]:
    async with open_log(Settings(REDIS_URL=redis.url)) as log:
        await log.append([Draft(build_event(TOPIC, "the first"))])
        with redis.client() as client:
            await asyncio.to_thread(fill, client, TOPIC, ROWS)
        _opened.append(log)
        yield
        _opened.clear()


@asynccontextmanager
async def the_loop_watched() -> AsyncIterator[list[float]]:
    """The longest times for which the loop was held, in CPU time of this thread.

    A delay by the code shows in all of the samples, a delay by the machine in one or two. The
    garbage of hundreds of earlier tests is not collected meanwhile, which would take longer.
    """
    gc.freeze()
    longest = [0.0] * SAMPLES
    done = False

    async def watch() -> None:
        before = time.thread_time()
        while not done:
            await asyncio.sleep(0)
            now = time.thread_time()
            heappushpop(longest, now - before)
            before = now

    watcher = asyncio.create_task(watch())
    try:
        yield longest
    finally:
        done = True
        await watcher


async def read(connection: Connection, *, most: int | None = None) -> tuple[int, int]:
    """The number of rows in the file, and the most memory that this process had meanwhile."""
    process = psutil.Process()
    rows, peak, more = -1, 0, True  # without the header
    while more and (most is None or rows < most):
        message = await connection.message()
        rows += message.get("body", b"").count(b"\n")
        more = message.get("more_body", False)
        peak = max(peak, process.memory_info().rss)
    return rows, peak


def reads(redis: RedisServer) -> int:
    """How often the log was read since this server was started."""
    with redis.client() as client:
        stats = client.info("commandstats")
    return int(stats.get("cmdstat_xrange", {"calls": 0})["calls"])


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("filled")
async def test_a_million_events_take_the_memory_of_a_page_and_never_hold_the_loop_for_long(
    redis: RedisServer, settings: DjangoSettings
) -> None:
    settings.ROOT_URLCONF = __name__
    asyncio.get_running_loop().set_debug(enabled=False)
    application = get_asgi_application()
    control_observers = list(runtime.control_observers)
    before = reads(redis)

    # A client that leaves at row 10. Everything that is made only once is made by it.
    async with Connection(application, "/whole", max_unread=1) as connection:
        rows, _ = await read(connection, most=10)
        assert 10 <= rows < ROWS / 100
    assert reads(redis) - before < 30, "the work went on without the client"
    assert runtime.control_observers == control_observers, "an observer of the client is left"

    gc.collect()
    taken = psutil.Process().memory_info().rss
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        the_loop_watched() as longest,
        Connection(application, "/whole", max_unread=1) as connection,
    ):
        rows, peak = await read(connection)
    assert rows == ROWS + 1
    assert peak - taken < 8 * MIB
    assert min(longest) < MAX_HELD_SECONDS
