"""The signals of a request on the fast path.

Django sends them in a thread. Its own receivers clean up what belongs to a thread: our pool does
that for its threads, and the event loop's thread has nothing of the kind. So a signal is sent only
if somebody else receives it.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http.response import HttpResponseBase

from notifications.hub.page_cursor import note_start

# A view on the fast path reads nothing for which the start of its request would have to be noted.

QUIET_RECEIVERS = frozenset(
    {reset_queries, close_old_connections, close_caches, reset_urlconf, note_start}
)

_receivers: dict[tuple[Signal, type], tuple[list[Any], bool]] = {}
"""For each signal and sender: the receivers at the last look, and whether any is not quiet."""


async def send_request_started(sender: type, scope: object) -> None:
    if _has_other_receivers(request_started, sender):
        await request_started.asend(sender=sender, scope=scope)


async def finish_request(sender: type, response: HttpResponseBase) -> None:
    """Close the response, which sends `request_finished`."""
    # `close` calls these functions, and no public attribute lists them. One of them is Django's
    # own, and closes the request.
    closers = response._resource_closers  # type: ignore[attr-defined]  # noqa: SLF001
    may_block = len(closers) > 1 or type(response).close is not HttpResponseBase.close
    if may_block or _has_other_receivers(request_finished, sender):
        await sync_to_async(response.close)()
    else:  # everything that `close` does except for the signal
        for closer in closers:
            closer()
        closers.clear()
        response.closed = True


def _has_other_receivers(signal: Signal, sender: type) -> bool:
    receivers, has_others = _receivers.get((signal, sender), (None, True))
    if signal.receivers != receivers:
        receivers = list(signal.receivers)
        # The public `Signal.has_listeners` does not tell Django's receivers from others.
        synchronous, asynchronous = signal._live_receivers(sender)  # noqa: SLF001
        has_others = bool(asynchronous) or not QUIET_RECEIVERS.issuperset(synchronous)
        _receivers[signal, sender] = receivers, has_others
    return has_others
