"""Checks of what middleware does to a stream, by trying it on one that ends."""

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

from notifications.asgi.responses import HEADERS
from notifications.checks.base import TAG
from notifications.checks.serving import imports_the_application, streams_here

GZIP = "django.middleware.gzip.GZipMiddleware"
TIMEOUT = 2.0
BLOCKS = 3


class Specimen(StreamingHttpResponse):
    """A short stream that remembers what was done to it."""

    def __init__(self) -> None:
        self.read = 0
        super().__init__(self._blocks(), headers=HEADERS)
        self.iterator = vars(self)["_iterator"]

    async def _blocks(self) -> AsyncIterator[bytes]:
        for _ in range(BLOCKS):
            self.read += 1
            yield b"data: a block that is long enough for whoever compresses\n\n" * 10

    @property
    def is_untouched(self) -> bool:
        return vars(self).get("_iterator") is self.iterator


@dataclass
class Finding:
    """What became of the stream behind one middleware."""

    touched: bool = False
    withheld: bool = False
    wrapped: bool = False


@register(TAG)
def middleware_lets_streams_pass(**_: Any) -> list[CheckMessage]:
    """carillon.W021, carillon.W022 and carillon.W023.

    To try a middleware may do anything, so only what serves the application, or checks, does that.
    """
    if not (imports_the_application() and streams_here()):
        return []
    return [
        message
        for path in django_settings.MIDDLEWARE
        if path == GZIP or not path.startswith("django.")
        for message in _messages(path, tried(path))
    ]


def _messages(path: str, finding: Finding) -> list[CheckMessage]:
    way = "See 'The way in' in docs/install.md."
    if finding.touched:
        return [
            CheckWarning(
                f"{path} reads response.content, which a streaming response has not: every stream "
                "is answered 500.",
                hint=f"Have it leave a response alone where response.streaming is true. {way}",
                id="carillon.W021",
            )
        ]
    if finding.withheld:
        return [
            CheckWarning(
                f"{path} holds streams back: it reads more than one block before it passes any on, "
                "so that nothing of an endless stream arrives.",
                hint=f"{_leave_alone(path)} {way}",
                id="carillon.W022",
            )
        ]
    if finding.wrapped:
        return [
            CheckWarning(
                f"{path} puts an iterator of its own around streams: each holds a thread, a "
                "request and whatever it works with, for as long as it is open.",
                hint=f"{_leave_alone(path)} {way}",
                id="carillon.W023",
            )
        ]
    return []


def _leave_alone(path: str) -> str:
    if path == GZIP:
        return "Compress in the proxy, and there not what is text/event-stream."
    return "Have it leave responses of the type text/event-stream alone."


def tried(path: str) -> Finding:
    """What it does, as far as it does it in time. In a thread, since it may block for ever."""
    finding = Finding()
    thread = threading.Thread(target=_try, args=(path, finding), daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return finding


def _try(path: str, finding: Finding) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            asyncio.run(_pass_one(import_string(path), finding))
    except Exception as error:  # noqa: BLE001 - alone, it may miss what others bring it
        finding.touched = isinstance(error, AttributeError) and "`content`" in str(error)


async def _pass_one(middleware: Callable[..., Any], finding: Finding) -> None:
    specimen = Specimen()
    response = await _answered(middleware, specimen)
    if not isinstance(response, StreamingHttpResponse):
        # It answered itself, or, having read all of it, with another response.
        finding.withheld = specimen.read > 0
        return
    if specimen.read:
        finding.withheld = True
    elif response is not specimen or not specimen.is_untouched:
        finding.wrapped = True
        finding.withheld = await _first_of(response) and specimen.read > 1


async def _first_of(response: StreamingHttpResponse) -> bool:
    """Whether anything comes out of it."""
    async for _ in response:
        return True
    return False


async def _answered(middleware: Callable[..., Any], specimen: Specimen) -> object:
    request = _request()
    if getattr(middleware, "async_capable", False):

        async def respond(_: HttpRequest) -> Specimen:
            return specimen

        return await middleware(respond)(request)
    return await asyncio.to_thread(lambda: middleware(lambda _: specimen)(request))


def _request() -> HttpRequest:
    """What an EventSource sends."""
    request = AsyncRequestFactory().get(
        reverse("carillon:events"),
        headers={"accept": "text/event-stream", "accept-encoding": "gzip, deflate, br, zstd"},
    )
    request.user = AnonymousUser()
    return request
