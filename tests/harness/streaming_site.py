"""The project with streams that a middleware wraps, or that are Django's own, and its middleware.

`WRAPPING_MIDDLEWARE` names middleware to add. `application` is our handler, `stock` Django's own.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.asgi import get_asgi_application as get_stock_application
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import include, path

from notifications.asgi import get_asgi_application, nonblocking
from notifications.asgi.responses import EventStreamResponse
from notifications.hub import runtime
from notifications.streaming import UnbufferedResponse
from notifications.transport.pull import PullTransport

if os.environ.get("SENTRY"):
    import sentry_sdk

    sentry_sdk.init(traces_sample_rate=1.0)  # it patches Django's handler; nothing is sent
application = get_asgi_application()
stock = get_stock_application()

BLOCK = b"data: open\n\n"
released = threading.Event()
open_bodies: list[object] = []


@nonblocking
async def own_stream(request: HttpRequest) -> EventStreamResponse:
    """A view of the site that streams the topics it knows."""
    await runtime.start().wait_ready(timeout=30)
    return EventStreamResponse(["demo.all"])


async def plain_stream(request: HttpRequest) -> EventStreamResponse:
    """The same, but not marked as nonblocking."""
    return EventStreamResponse(["demo.all"])


@nonblocking
async def asynchronous(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(async_blocks(), content_type="text/event-stream")


@nonblocking
async def synchronous(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(blocks(), content_type="text/event-stream")


@nonblocking
async def unbuffered(request: HttpRequest) -> UnbufferedResponse:
    return UnbufferedResponse(blocks(), content_type="text/event-stream")


async def async_blocks() -> AsyncIterator[bytes]:
    open_bodies.append(body := object())
    try:
        yield BLOCK
        await asyncio.Event().wait()
    finally:
        open_bodies.remove(body)


def blocks() -> Iterator[bytes]:
    open_bodies.append(body := object())
    try:
        yield BLOCK
        released.wait()
    finally:
        open_bodies.remove(body)


async def state(request: HttpRequest) -> JsonResponse:
    """What is open in this process. `?release=1` ends the synchronous bodies."""
    if request.GET.get("release"):
        released.set()
    await runtime.start().wait_ready(timeout=30)
    streams = runtime.start().hub.subscribers
    iterated = sum(isinstance(each.transport, PullTransport) for each in streams)
    return JsonResponse(
        {
            "open": len(streams) + len(open_bodies),
            "iterated": iterated,
            "threads": threading.active_count(),
        }
    )


urlpatterns: list[Any] = [
    *(path(f"{view.__name__}/", view) for view in (own_stream, plain_stream, asynchronous)),
    *(path(f"{view.__name__}/", view) for view in (synchronous, unbuffered, state)),
    path("", include("config.urls")),
]
