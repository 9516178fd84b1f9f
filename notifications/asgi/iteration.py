"""A response that is sent while its client may leave or be slow, and that others do not wait for.

Whatever is not handed off, Django sends: the headers, and then the body, which for a streaming
response may last for hours. Under Django's own handler such a response has a thread to itself, and
ends when its client leaves. So it has here.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context

from django.http.response import HttpResponseBase

from notifications.asgi.request_thread import RequestThread
from notifications.asgi.responses import EventStreamResponse
from notifications.transport.base import Receive, wait_for_disconnect
from notifications.transport.cancel import CancelScope

SLOW_SECONDS = 1.0
"""How long a client may take a response that does not stream, until its request leaves the pool."""


async def send_response(
    response: HttpResponseBase,
    sending: Coroutine[None, None, None],
    receive: Receive,
    thread: RequestThread,
) -> None:
    """Await `sending`, which sends the response, without occupying a thread of the pool.

    It is cancelled if the client leaves while a streaming response is sent.
    """
    if not is_iterated(response):
        if thread.is_kept:
            await _send_leaving_pool_if_slow(sending, thread)
        else:
            await sending
        return
    thread.leave_pool()
    if isinstance(response, EventStreamResponse):
        # It may last for hours, and what it streams comes from no database.
        thread.close_idle_connections()
    with CancelScope() as cancel_scope:
        listener = asyncio.create_task(_cancel_on_disconnect(receive, cancel_scope))
        try:
            await sending
        finally:
            listener.cancel()


def is_iterated(response: HttpResponseBase) -> bool:
    """Whether Django iterates over the response: it streams, and is not handed off."""
    if isinstance(response, EventStreamResponse):
        return response.unwrapped_stream is None
    return response.streaming


async def _cancel_on_disconnect(receive: Receive, cancel_scope: CancelScope) -> None:
    await wait_for_disconnect(receive)
    cancel_scope.cancel()


async def _send_leaving_pool_if_slow(
    sending: Coroutine[None, None, None], thread: RequestThread
) -> None:
    timer = asyncio.get_running_loop().call_later(
        SLOW_SECONDS, thread.leave_pool, context=Context()
    )
    try:
        await sending
    finally:
        timer.cancel()
