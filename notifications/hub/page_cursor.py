"""The cursor of a page: where the log stood before the view read what the page shows.

A page that begins its stream there misses nothing. The cursor must therefore be as old as the
request, however late the template asks for it. Where this process follows the log, the cursor is
noted when the request begins. Elsewhere only the time is noted then, and the log is asked what it
had reached by that time.
"""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from django.http import HttpRequest

from notifications.conf import Settings, get_settings
from notifications.errors import Unavailable
from notifications.hub import runtime
from notifications.log.cursors import Cursor
from notifications.log.factory import open_sync_log

_KEY = "carillon.cursor"
"""The key in the ASGI scope or WSGI environment of a request.

Its value is the cursor, None for no cursor, or the time (`time.monotonic`) of the request's start.
"""
_PAUSE_SECONDS = 5.0
"""How long pages have no cursor after the log could not be reached, rather than wait for it."""

_away_until: dict[Settings, float] = {}
_following: dict[asyncio.AbstractEventLoop, runtime.Runtime] = {}
"""The runtimes of this process, for the threads in which views run."""


async def follow_log(_: Settings) -> None:
    """Lend the head of this event loop's runtime to every thread. Runs as long as the runtime."""
    loop, running = asyncio.get_running_loop(), runtime.current()
    if running is None:
        return
    _following[loop] = running
    try:
        await asyncio.Event().wait()
    finally:
        if _following.get(loop) is running:  # and not a runtime that has begun meanwhile
            del _following[loop]


def _head() -> Cursor | None:
    """The head of an event loop of this process that follows the log, if there is one.

    What is appended to the log from now on follows it.
    """
    for loop, running in list(_following.items()):
        if running.ready and loop.is_running():
            return running.hub.head
    return None


def note_start(
    sender: object = None,
    environ: MutableMapping[str, Any] | None = None,
    scope: MutableMapping[str, Any] | None = None,
    **_: Any,
) -> None:
    """Note where the log stands, or the time. A receiver of Django's signal `request_started`."""
    del sender
    carrier = scope if environ is None else environ
    if carrier is not None:
        carrier[_KEY] = _head() or time.monotonic()


def forget(scope: MutableMapping[str, Any]) -> None:
    """The request is over: its scope may wait for the garbage collector."""
    scope.pop(_KEY, None)


def cursor(request: HttpRequest | None = None) -> str:
    """A cursor from before the request began; without a request, one of now.

    A stream that begins there brings everything that was published since. Each call for a request
    returns the same. An empty text if there is no cursor, because Redis is away: then fetch the
    state once the stream is open.
    """
    carrier = _carrier(request)
    if (known := _known(carrier)) is not None:
        return known
    return _keep(carrier, _ask_log(_moment(carrier)))


async def acursor(request: HttpRequest | None = None) -> str:
    """As `cursor`, for code in an event loop."""
    carrier = _carrier(request)
    if (known := _known(carrier)) is not None:
        return known
    return _keep(carrier, await asyncio.to_thread(_ask_log, _moment(carrier)))


def _carrier(request: HttpRequest | None) -> MutableMapping[str, Any]:
    if request is None:
        return {}
    scope: MutableMapping[str, Any] | None = getattr(request, "scope", None)
    return request.META if scope is None else scope


def _known(carrier: MutableMapping[str, Any]) -> str | None:
    """The cursor, if it takes no call to the log."""
    if _KEY not in carrier and (head := _head()) is not None:
        return _keep(carrier, head)
    noted = carrier.get(_KEY, 0.0)
    if isinstance(noted, float):
        return None
    return str(noted or "")


def _moment(carrier: MutableMapping[str, Any]) -> float:
    """When the request began, by `time.monotonic`."""
    moment: float = carrier.get(_KEY) or time.monotonic()
    return moment


def _keep(carrier: MutableMapping[str, Any], found: Cursor | None) -> str:
    carrier[_KEY] = found
    return str(found or "")


def _ask_log(moment: float) -> Cursor | None:
    settings = get_settings()
    if time.monotonic() < _away_until.get(settings, 0.0):
        return None
    try:
        return open_sync_log(settings).state_before(moment)
    except Unavailable:
        _away_until[settings] = time.monotonic() + _PAUSE_SECONDS
        return None
