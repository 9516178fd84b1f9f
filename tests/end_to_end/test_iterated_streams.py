"""A stream that is not handed off is no worse than under Django's own handler.

The middleware here is real: each puts an iterator of its own around every streaming response.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from notifications.asgi.threads import MAX_THREADS
from tests.harness.promises import allowed_seconds
from tests.harness.servers import (
    COMMANDS,
    RedisServer,
    WebServer,
    migrate,
    wait_until_ready,
    web_server,
)

GZIP = "django.middleware.gzip.GZipMiddleware"
STRUCTLOG = "django_structlog.middlewares.RequestMiddleware"
STREAMS = 2 * MAX_THREADS
EVENTS = "/events/?topic=demo.all"
ENDLESS = [EVENTS, "/own_stream/", "/asynchronous/"]
PUBLISH_SECONDS, GONE_SECONDS = 5.0, 5.0
"""On a busy machine. Without the cure both took 20 s and more, and on an idle machine 0.1 s do."""
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
SPARE_THREADS = 2

pytestmark = [pytest.mark.usefixtures("loop_without_debug"), pytest.mark.timeout(300)]

type State = dict[str, int]


@asynccontextmanager
async def site(
    kind: str,
    application: str,
    middleware: str,
    redis: RedisServer,
    folder: Path,
    **environment: str,
) -> AsyncIterator[WebServer]:
    """The site in a process, and one publication before a test measures any."""
    await asyncio.to_thread(migrate, folder)
    command = [
        f"tests.harness.streaming_site:{application}" if "config.asgi" in word else word
        for word in COMMANDS[kind]
    ]
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.harness.streaming_settings",
        "WRAPPING_MIDDLEWARE": middleware,
        **environment,
    }
    with web_server(command, redis_url=redis.url, folder=folder, settings=settings) as web:
        await asyncio.to_thread(wait_until_ready, web.port)
        await publish(web)
        yield web


async def publish(web: WebServer) -> float:
    """Publish an event. Returns how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(DEADLINE_SECONDS):
        status, _ = await asyncio.to_thread(web.publish, {"topic": "demo.all", "data": "news"})
    assert status in {200, 201}
    return time.monotonic() - began


async def state(web: WebServer, *, release: bool = False) -> State:
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, found = await asyncio.to_thread(web.get, f"/state/?release={int(release) or ''}")
    return dict(found)


async def settled(
    web: WebServer, condition: Callable[[State], bool], *, seconds: float = DEADLINE_SECONDS
) -> State:
    """The state of the process once the condition holds."""
    now: State = {}
    try:
        async with asyncio.timeout(seconds):
            while not condition(now := await state(web)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        pytest.fail(f"Still so after {seconds} s: {now}")
    return now


@asynccontextmanager
async def clients(web: WebServer, path: str, *, others: int = 0) -> AsyncIterator[State]:
    """So many clients of a stream. Yields the state of the process with all streams open."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"
    async with AsyncExitStack() as stack:
        ends = []  # asyncio closes the connection of a reader or writer that nobody keeps
        for _ in range(STREAMS):
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            ends.append((reader, writer))
            stack.callback(writer.transport.abort)
            writer.write(request.encode())
        yield await settled(web, lambda now: now["open"] == others + STREAMS)


def closed(now: State) -> bool:
    return now["open"] == 0


def at_rest(threads: int) -> Callable[[State], bool]:
    return lambda now: now["threads"] <= threads + SPARE_THREADS


async def threads_of_streams(web: WebServer, most: dict[str, int] | None = None) -> dict[str, int]:
    """Open and leave the streams of each path. Returns the threads that the process then had.

    If `most` is given, wait until the open streams of each path leave no more threads than that:
    a thread of a request that has just ended is there for a moment longer.
    """
    idle = await state(web)
    threads = {}
    for path in ENDLESS:
        async with clients(web, path) as during:
            now = during if most is None else await settled(web, at_rest(most[path]))
            threads[path] = now["threads"]
            assert await publish(web) < allowed_seconds(PUBLISH_SECONDS)
        await settled(web, closed, seconds=allowed_seconds(GONE_SECONDS))
        await settled(web, at_rest(idle["threads"]))
    return threads


@pytest.mark.parametrize("kind", sorted(COMMANDS))
@pytest.mark.parametrize("middleware", [GZIP, STRUCTLOG])
async def test_streams_that_a_middleware_wraps_hold_nothing_that_others_need(
    kind: str, middleware: str, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(kind, "stock", middleware, redis, tmp_path) as web:
        djangos = await threads_of_streams(web)
    async with site(kind, "application", middleware, redis, tmp_path) as web:
        await threads_of_streams(web, most=djangos)


@pytest.mark.parametrize("kind", sorted(COMMANDS))
@pytest.mark.parametrize("middleware", ["", STRUCTLOG], ids=["plain", "structlog"])
async def test_bodies_that_block_a_thread_hold_up_nobody_else(
    kind: str, middleware: str, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(kind, "application", middleware, redis, tmp_path) as web:
        idle = await state(web)
        async with clients(web, "/synchronous/"), AsyncExitStack() as stack:
            assert await publish(web) < allowed_seconds(PUBLISH_SECONDS)
            await stack.enter_async_context(clients(web, "/unbuffered/", others=STREAMS))
            assert await publish(web) < allowed_seconds(PUBLISH_SECONDS)
            await state(web, release=True)
        await settled(web, closed)
        await settled(web, at_rest(idle["threads"]))


@pytest.mark.parametrize("kind", sorted(COMMANDS))
async def test_streams_are_handed_off_under_sentry(
    kind: str, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(kind, "application", "", redis, tmp_path, SENTRY="1") as web:
        for path in (EVENTS, "/plain_stream/"):
            async with clients(web, path) as during:
                assert during["iterated"] == 0
            await settled(web, closed)
