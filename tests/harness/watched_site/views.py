"""Views of a site, and a middleware that sets what no other request may see."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_only_middleware
from django.utils.deprecation import MiddlewareMixin

from notifications import EventStreamResponse
from notifications.asgi import nonblocking
from tests.harness.watched_site import WATCHER


class Mark:
    """What a request sets."""


mark: ContextVar[Mark | None] = ContextVar("mark", default=None)
marks = WeakSet[Mark]()
"""The marks that something still refers to."""
leaks: list[str] = []
"""What a request saw of another one."""


def watchers_state() -> str:
    """What an earlier request has left for this one, in the watcher's own context."""
    if WATCHER.startswith("sentry"):
        import sentry_sdk

        return ",".join(sentry_sdk.get_isolation_scope()._tags)
    import structlog

    return ",".join(structlog.contextvars.get_contextvars())


@nonblocking
class MarkRequest(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        if mark.get() is not None:
            leaks.append(f"{request.path} saw the mark of another request")
        if state := watchers_state():
            leaks.append(f"{request.path} saw {state}")
        made = Mark()
        marks.add(made)
        mark.set(made)
        if WATCHER.startswith("sentry"):
            import sentry_sdk

            sentry_sdk.set_tag("site.path", request.path)
        else:
            import structlog

            structlog.contextvars.bind_contextvars(site_path=request.path)


@sync_only_middleware
def synchronous(get_response: Callable[[HttpRequest], Any]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = get_response(request)
        return response

    return middleware


def stream(request: HttpRequest) -> EventStreamResponse:
    return EventStreamResponse(["demo.a"])


async def fail(request: HttpRequest) -> HttpResponseBase:
    raise LookupError("This view fails.")
