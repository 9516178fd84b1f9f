"""Checks of what middleware does to a stream, by passing a short stream through each one."""

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.http import HttpRequest, StreamingHttpResponse
from django.test import AsyncRequestFactory
from django.urls import reverse
from django.utils.module_loading import import_string

from notifications.asgi.responses import STREAM_HEADERS
from notifications.checks.base import TAG
from notifications.checks.serving import may_import_application, serves_streams
from notifications.streaming.django_internals import content_of

GZIP = "django.middleware.gzip.GZipMiddleware"
TIMEOUT_SECONDS = 2.0
BLOCKS = 3


class SampleStream(StreamingHttpResponse):
    """A short stream that records how much of it was read, and whether it was wrapped."""

    def __init__(self) -> None:
        self.blocks_read = 0
        super().__init__(self._blocks(), headers=STREAM_HEADERS)
        self._content = content_of(self)

    @property
    def is_wrapped(self) -> bool:
        return content_of(self) is not self._content

    async def _blocks(self) -> AsyncIterator[bytes]:
        for _ in range(BLOCKS):
            self.blocks_read += 1
            yield b"data: a block that is long enough for a compressor\n\n" * 10


@dataclass
class Outcome:
    """What one middleware does to a stream."""

    reads_content: bool = False
    withholds: bool = False
    wraps: bool = False


@register(TAG)
def middleware_lets_streams_pass(**_: Any) -> list[CheckMessage]:
    """carillon.W021, carillon.W022 and carillon.W023.

    Calling a middleware may have any effect, so only commands that serve or check do it.
    """
    if not (may_import_application() and serves_streams()):
        return []
    return [
        message
        for path in django_settings.MIDDLEWARE
        if path == GZIP or not path.startswith("django.")
        for message in _messages(path, outcome_of(path))
    ]


def _messages(path: str, outcome: Outcome) -> list[CheckMessage]:
    see = "See 'The way in' in docs/install.md."
    if outcome.reads_content:
        return [
            CheckWarning(
                f"{path} reads response.content, which a streaming response does not have: every "
                "stream is answered 500.",
                hint=f"Have it leave a response alone where response.streaming is true. {see}",
                id="carillon.W021",
            )
        ]
    if outcome.withholds:
        return [
            CheckWarning(
                f"{path} holds streams back: it reads more than one block before it passes any on, "
                "so an endless stream never arrives.",
                hint=f"{_leave_alone(path)} {see}",
                id="carillon.W022",
            )
        ]
    if outcome.wraps:
        return [
            CheckWarning(
                f"{path} wraps streams in its own iterator, so that they are not handed off: each "
                "keeps its request, 50 KiB (130 KiB with gzip) instead of 9, and, as under "
                "Django's own handler, a thread in which a middleware may have left something.",
                hint=f"{_leave_alone(path)} {see}",
                id="carillon.W023",
            )
        ]
    return []


def _leave_alone(path: str) -> str:
    if path == GZIP:
        return "Compress in the proxy, except for text/event-stream."
    return "Have it leave responses of the type text/event-stream alone."


def outcome_of(path: str) -> Outcome:
    """What a middleware does within the timeout. It runs in a thread, since it may block."""
    outcome = Outcome()
    thread = threading.Thread(target=_try, args=(path, outcome), daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    return outcome


def _try(path: str, outcome: Outcome) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            asyncio.run(_pass_stream(import_string(path), outcome))
    except Exception as error:  # noqa: BLE001 - alone, a middleware may miss what others set
        outcome.reads_content = isinstance(error, AttributeError) and "`content`" in str(error)


async def _pass_stream(middleware: Callable[..., Any], outcome: Outcome) -> None:
    stream = SampleStream()
    response = await _response_of(middleware, stream)
    if not isinstance(response, StreamingHttpResponse):
        # The middleware made a response of its own, perhaps of all that it read from the stream.
        outcome.withholds = stream.blocks_read > 0
        return
    if stream.blocks_read:
        outcome.withholds = True
    elif response is not stream or stream.is_wrapped:
        outcome.wraps = True
        outcome.withholds = await _yields(response) and stream.blocks_read > 1


async def _yields(response: StreamingHttpResponse) -> bool:
    async for _ in response:
        return True
    return False


async def _response_of(middleware: Callable[..., Any], stream: SampleStream) -> object:
    request = _request()
    if getattr(middleware, "async_capable", False):

        async def respond(_: HttpRequest) -> SampleStream:
            return stream

        return await middleware(respond)(request)
    return await asyncio.to_thread(lambda: middleware(lambda _: stream)(request))


def _request() -> HttpRequest:
    """The request of a browser's EventSource."""
    request = AsyncRequestFactory().get(
        reverse("carillon:events"),
        headers={"accept": "text/event-stream", "accept-encoding": "gzip, deflate, br, zstd"},
    )
    request.user = AnonymousUser()
    return request
