"""Probes: requests of orchestrators, balancers and scrapers, which know a process by its address.

A kubelet asks `http://10.1.2.3:8000/health/ready`. Django refuses such a host, and may redirect the
request to https or to another name. So the views that are marked `probe` are answered before any
middleware: they read no session, and their answers do not depend on the host.
"""

from collections.abc import Callable
from inspect import iscoroutinefunction, markcoroutinefunction
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from notifications.asgi.marker import is_probe, nonblocking
from notifications.asgi.routes import resolved

METHODS = ("GET", "HEAD")


@nonblocking
class ProbeMiddleware:
    """For Django's own handlers, ASGI and WSGI: put it first. Our handler needs no such line."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        view = _probe_view(request)
        if view is None:
            return self._get_response(request)
        return _answer(view, request) if self._is_async else async_to_sync(_answer)(view, request)


async def _answer(view: Callable[..., Any], request: HttpRequest) -> HttpResponseBase:
    response: HttpResponseBase = await view(request)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _probe_view(request: HttpRequest) -> Callable[..., Any] | None:
    """The view of a probe. None for any other request, which goes the way of all requests.

    Where `APPEND_SLASH` would redirect the request to such a view, it is that view too.
    """
    if request.method not in METHODS:
        return None
    path = request.path_info
    match = resolved(path)
    if match is None and not path.endswith("/") and settings.APPEND_SLASH:
        match = resolved(f"{path}/")
    if match is None or match.args or match.kwargs or not is_probe(match.func):
        return None
    return match.func
