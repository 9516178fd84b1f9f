"""Django's signals of a request, sent where that costs the least."""

from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http.response import HttpResponseBase

# What they look after is of their thread. Lanes do the same for theirs, and the loop's has nothing.
DJANGOS_OWN = frozenset({reset_queries, close_old_connections, close_caches, reset_urlconf})


async def start(sender: type, scope: object) -> None:
    if _is_heard(request_started, sender):
        await request_started.asend(sender=sender, scope=scope)


async def finish(response: HttpResponseBase, sender: type) -> None:
    """Close the response, which says that the request is over."""
    closers = vars(response)["_resource_closers"]
    # Django's is one: the request's. What others have to close may block.
    its_own = len(closers) > 1 or type(response).close is not HttpResponseBase.close
    if its_own or _is_heard(request_finished, sender):
        await sync_to_async(response.close)()
    else:  # all that `close` does, but for telling nobody
        for closer in closers:
            closer()
        closers.clear()
        response.closed = True


_known: dict[tuple[Signal, type], tuple[list[Any], bool]] = {}


def _is_heard(signal: Signal, sender: type) -> bool:
    """Whether anybody but Django listens."""
    receivers, heard = _known.get((signal, sender), (None, True))
    if signal.receivers != receivers:
        receivers = list(signal.receivers)
        synchronous, asynchronous = signal._live_receivers(sender)  # noqa: SLF001
        heard = bool(asynchronous) or not DJANGOS_OWN.issuperset(synchronous)
        _known[signal, sender] = receivers, heard
    return heard
