"""A response that Django sends by itself: no thread of the pool waits for its client."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.decorators import async_only_middleware

from notifications import apublish
from notifications.asgi import iteration
from notifications.asgi.handler import CarillonASGIHandler
from notifications.asgi.marker import nonblocking
from notifications.asgi.responses import EventStreamResponse
from notifications.asgi.threads import ThreadPool
from notifications.hub import runtime
from tests.harness.asgi import DEADLINE_SECONDS, Connection

GZIP = "django.middleware.gzip.GZipMiddleware"
pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends", "urls")

local = threading.local()
closed = asyncio.Event()


@nonblocking
async def events(request: HttpRequest) -> EventStreamResponse:
    await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    return EventStreamResponse(["t"])


@nonblocking
async def blocks(request: HttpRequest) -> StreamingHttpResponse:
    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield await sync_to_async(lambda: str(vars(local).get("tenant")))()
                if "end" in request.GET:
                    return
                await asyncio.Event().wait()
        finally:
            closed.set()

    return StreamingHttpResponse(source())


@nonblocking
async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page")


type Next = Callable[[HttpRequest], Awaitable[Any]]


@async_only_middleware
def tenant(get_response: Next) -> Next:
    """Leaves something in the thread of the request, as a middleware for tenants does."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        await sync_to_async(setattr)(local, "tenant", request.GET["tenant"])
        response: HttpResponseBase = await get_response(request)
        return response

    return middleware


@async_only_middleware
def replacing(get_response: Next) -> Next:
    """Answers with a response of its own, and drops the one that it iterates over."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        return StreamingHttpResponse(response.streaming_content, headers=response.headers)

    return middleware


urlpatterns = [path("events", events), path("blocks", blocks), path("page", page)]


@pytest.fixture
def urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.tenant"]
    closed.clear()


@pytest.fixture
def finishing_threads() -> Iterator[list[threading.Thread]]:
    """The threads in which Django sends `request_finished`."""
    threads: list[threading.Thread] = []

    def note(**_: Any) -> None:
        threads.append(threading.current_thread())

    request_finished.connect(note)
    yield threads
    request_finished.disconnect(note)


def pool_of_one() -> ThreadPool:
    return ThreadPool(max_threads=1)


async def subscribers_are(count: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(runtime.start().hub.subscribers) != count:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_bodies_share_no_thread_and_see_what_middleware_left_in_theirs() -> None:
    application = CarillonASGIHandler(thread_pool=pool_of_one())
    async with AsyncExitStack() as stack:
        for number in range(4):
            connection = Connection(application, f"/blocks?tenant={number}")
            await stack.enter_async_context(connection)
            assert (await connection.message())["body"] == str(number).encode()


async def test_a_body_whose_client_leaves_is_closed_and_its_request_finished(
    finishing_threads: list[threading.Thread],
) -> None:
    async with Connection(CarillonASGIHandler(), "/blocks?tenant=a") as connection:
        await connection.message()
        assert not finishing_threads
    async with asyncio.timeout(DEADLINE_SECONDS):
        await closed.wait()
    assert len(finishing_threads) == 1


async def test_a_body_that_the_server_cancels_is_closed_and_its_request_finished(
    finishing_threads: list[threading.Thread],
) -> None:
    connection = Connection(CarillonASGIHandler(), "/blocks?tenant=a")
    await connection.__aenter__()
    await connection.message()
    connection.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection.task
    async with asyncio.timeout(DEADLINE_SECONDS):
        await closed.wait()
    assert len(finishing_threads) == 1


async def test_a_body_that_ends_is_a_whole_response() -> None:
    async with Connection(CarillonASGIHandler(), "/blocks?tenant=a&end=1") as connection:
        assert (await connection.message())["body"] == b"a"
        assert not (await connection.message()).get("more_body", False)


async def test_a_client_that_is_slow_to_take_a_page_holds_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(iteration, "SLOW_SECONDS", 0.01)
    application = CarillonASGIHandler(thread_pool=pool_of_one())
    async with Connection(application, "/page?tenant=a", max_unread=1) as slow:
        await slow.message()
        slow.client_reads.clear()
        async with Connection(application, "/page?tenant=b") as other:
            assert (await other.message())["body"] == b"a page"
        slow.client_reads.set()


@pytest.mark.parametrize(
    ("application", "middleware"),
    [
        (CarillonASGIHandler, GZIP),
        (CarillonASGIHandler, f"{__name__}.replacing"),
        (ASGIHandler, GZIP),
    ],
)
async def test_a_wrapped_stream_leaves_the_hub_when_its_client_does(
    application: type[ASGIHandler], middleware: str, settings: Any
) -> None:
    settings.MIDDLEWARE = [middleware]
    async with Connection(application(), "/events", accept_encoding="gzip") as connection:
        await connection.message()
        await subscribers_are(1)
    await subscribers_are(0)


async def test_a_wrapped_stream_counts_towards_the_quota_of_its_address(settings: Any) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS_PER_ADDRESS": 1}
    settings.MIDDLEWARE = [GZIP]
    application = CarillonASGIHandler()
    async with Connection(application, "/events", accept_encoding="gzip") as connection:
        await connection.message()
        async with Connection(application, "/events", accept_encoding="gzip") as refused:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await refused.task
        assert len(runtime.start().hub.subscribers) == 1


async def test_a_wrapped_stream_ends_with_its_process(settings: Any) -> None:
    settings.MIDDLEWARE = [GZIP]
    async with Connection(CarillonASGIHandler(), "/events", accept_encoding="gzip") as connection:
        await connection.message()
        await apublish("t", "a")
        await runtime.stop()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await connection.task
