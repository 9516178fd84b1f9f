"""A stream that is refused: one closing block, some seconds of waiting, and the end."""

import asyncio
from contextlib import suppress

from notifications.hub import runtime
from notifications.hub.refusals import Refusal
from notifications.transport.base import NOBODY, Payload, Receive, Send, wait_for_disconnect
from notifications.transport.cancel import CancelScope
from notifications.transport.select import select_transport


async def send_refusal(refusal: Refusal, receive: Receive, send: Send) -> None:
    """Send the refusal. The headers are sent already."""
    block = refusal.block()
    breaks_off = refusal.encoder.ends_broken_off
    if not breaks_off:
        await send({"type": "http.response.body", "body": block, "more_body": True})
    held_refusals = runtime.start().quotas.held_refusals
    with held_refusals.hold(refusal.reason) as seconds, suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wait_for_disconnect(receive)
            return
    if breaks_off:
        with CancelScope() as cancel_scope:
            transport = select_transport(send, cancel=cancel_scope.cancel)
            transport.callbacks = NOBODY
            transport.end(Payload(block), break_off=True)
            await wait_for_disconnect(receive)
    else:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
