"""Opening a stream, once its head has been sent and Django's request has ended."""

import asyncio

from notifications.asgi.refused import send_refusal
from notifications.asgi.server_warnings import ServerWarnings
from notifications.asgi.stop_signals import drain_before_reactor_stops
from notifications.conf import get_settings
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import CloseReason
from notifications.transport.base import Payload, Receive, Send, wait_for_disconnect
from notifications.transport.cancel import CancelScope
from notifications.transport.detach import ServerConnection, detach
from notifications.transport.select import select_transport
from notifications.transport.wrappers import unwrap


async def run_stream(
    stream: EventStream,
    connection: ServerConnection | None,
    receive: Receive,
    send: Send,
    warnings: ServerWarnings,
    *,
    is_head: bool,
) -> None:
    """Open a stream whose head has been sent. The response to a HEAD request ends at once.

    If its socket can be taken out of the server, this returns as soon as it is, and the stream
    lives on by the hub alone. Otherwise this waits for the client to leave or the hub to end it.
    """
    if is_head:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    refusal = await stream.refusal()
    if refusal is not None:
        await send_refusal(refusal, receive, send)
        return
    warnings.check(unwrap(send), is_detached=connection is not None)
    if connection is None or not await _run_detached(stream, connection, receive, send):
        await _run_by_server(stream, receive, send)


async def _run_detached(
    stream: EventStream, connection: ServerConnection, receive: Receive, send: Send
) -> bool:
    """Whether the socket could be taken out. Then the stream is open, or over already."""
    deadline = get_settings().WRITE_DEADLINE
    try:
        transport = await detach(connection, receive, send, deadline=deadline)
    except ConnectionError:  # the client has left
        return True
    if transport is None:
        return False
    try:
        # Quotas and the state of the process are those of this step of the event loop.
        refusal = await stream.refusal()
        drain_before_reactor_stops()
        if refusal is None:
            stream.open_detached(transport)
        else:
            transport.end(Payload(refusal.block()), break_off=refusal.encoder.ends_broken_off)
            if transport.busy:  # the hub, which closes slow clients, does not know this one
                asyncio.get_running_loop().call_later(deadline, transport.abort)
    except BaseException:
        transport.abort()
        raise
    return True


async def _run_by_server(stream: EventStream, receive: Receive, send: Send) -> None:
    with CancelScope() as cancel_scope:
        hub, subscriber = stream.open(select_transport(send, cancel=cancel_scope.cancel))
        try:
            await wait_for_disconnect(receive)
        finally:
            hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    if stream.end_notice is not None:
        await stream.end_notice()
