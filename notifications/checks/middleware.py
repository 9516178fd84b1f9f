"""Checks of what middleware does to a stream, by passing a short stream through each one."""

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory
from django.urls import resolve, reverse
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
    redirects: bool = False


@register(TAG)
def middleware_lets_streams_pass(**_: Any) -> list[CheckMessage]:
    """carillon.W021, carillon.W022, carillon.W023 and carillon.W028.

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
    return [_redirect_warning(path)] if outcome.redirects else []


def _redirect_warning(path: str) -> CheckWarning:
    return CheckWarning(
        f"{path} redirects requests for streams or publications, as it would a page: a browser's "
        "EventSource then gives up, and the URL with its signed link travels in the parameter of "
        "another.",
        hint="Have it exempt views whose login_required is False, as Django's own "
        "LoginRequiredMiddleware does, or these paths: Carillon's views authorize their requests "
        "themselves. See 'Middleware that requires a login' in docs/install.md.",
        id="carillon.W028",
    )


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
    outcome.redirects = await _redirects(middleware, reverse("carillon:publish"))
    stream = SampleStream()
    request = _request(reverse("carillon:events"))
    response = await _response_of(middleware, request, stream)
    if _leads_away(request, response):
        outcome.redirects = True
    elif not isinstance(response, StreamingHttpResponse):
        # The middleware made a response of its own, perhaps of all that it read from the stream.
        outcome.withholds = stream.blocks_read > 0
    elif stream.blocks_read:
        outcome.withholds = True
    elif response is not stream or stream.is_wrapped:
        outcome.wraps = True
        outcome.withholds = await _yields(response) and stream.blocks_read > 1


async def _yields(response: StreamingHttpResponse) -> bool:
    async for _ in response:
        return True
    return False


async def _redirects(middleware: Callable[..., Any], path: str) -> bool:
    request = _request(path)
    return _leads_away(request, await _response_of(middleware, request, SampleStream()))


def _leads_away(request: HttpRequest, response: object) -> bool:
    """Whether the response is a redirect to another path, as that of a login page is."""
    location = response.headers.get("Location", "") if isinstance(response, HttpResponse) else ""
    return bool(location) and urlsplit(location).path != request.path


async def _response_of(
    middleware: Callable[..., Any], request: HttpRequest, stream: SampleStream
) -> object:
    """What the middleware answers, and otherwise what its `process_view` does."""
    if getattr(middleware, "async_capable", False):

        async def respond(_: HttpRequest) -> SampleStream:
            return stream

        layer = middleware(respond)
        response = await layer(request)
    else:
        layer = middleware(lambda _: stream)
        response = await asyncio.to_thread(layer, request)
    process_view = getattr(layer, "process_view", None)
    if process_view is None or response is not stream:
        return response
    match = resolve(request.path_info)
    answer = await sync_to_async(process_view)(request, match.func, match.args, match.kwargs)
    return answer or response


def _request(path: str) -> HttpRequest:
    """The request of a browser's EventSource, without a session, by https."""
    request = AsyncRequestFactory().get(
        path,
        secure=True,
        headers={"accept": "text/event-stream", "accept-encoding": "gzip, deflate, br, zstd"},
    )
    request.user = AnonymousUser()
    return request
