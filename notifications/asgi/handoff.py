"""The hand-off: a stream leaves Django's request behind.

Under Django's own ASGI handler, a streaming response keeps its request, a thread and a database
connection for as long as it lasts. An `EventStreamResponse` lasts for hours. So our handler lets
Django send the headers of the response, and nothing else. The request then ends as any other does
(`response.close`, `request_finished`, the thread is released), and only after that the stream runs.

    view ──▶ EventStreamResponse ──▶ Handoff.take     the stream is taken out of the response
    Django ends the request ──▶ run_stream            the hub writes to the transport
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from notifications.asgi.responses import EventStreamResponse
from notifications.asgi.server_warnings import ServerWarnings
from notifications.hub.stream import EventStream
from notifications.hub.subscribers import CloseReason
from notifications.transport.base import (
    Message,
    Receive,
    Send,
    receive_disconnect,
    send_nothing,
)
from notifications.transport.cancel import CancelScope
from notifications.transport.daphne import daphne_backpressure
from notifications.transport.select import select_transport
from notifications.transport.uvicorn import is_connection_closed


class Handoff:
    """The `send` that Django gets. It also keeps the stream of the response, once `take` has found
    one."""

    def __init__(self, send: Send, scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self._send = send
        self.stream: EventStream | None = None

    async def __call__(self, message: Message) -> None:
        try:
            await self._send(message)
        except RuntimeError:
            # uvloop raises `RuntimeError` if uvicorn has closed the connection, which it does for
            # some pipelined requests. Nobody is left to receive the message.
            if not is_connection_closed(self._send):
                raise

    def take(self, response: EventStreamResponse) -> bool:
        """Take the stream out of its response. The caller then sends the headers and nothing else.

        False if a middleware has wrapped the iterator of the response. Only that middleware knows
        what the client is to receive, so Django has to iterate over the response.
        """
        self.stream = response.detach_stream()
        return self.stream is not None

    def release(self) -> EventStream | None:
        """The stream, if there is one. The request is over, and nothing is sent for it any more.

        Django's `handle` raises exceptions whose tracebacks hold this object, in cycles: what
        belongs to the stream must not wait with them for the garbage collector.
        """
        stream, self.stream, self._send = self.stream, None, send_nothing
        return stream

    @contextmanager
    def backpressure(self) -> Iterator[None]:
        """Within the block, `send` waits for a slow client on every server.

        It is for streaming responses that Django iterates over. If the block raises, the connection
        is closed, because a proper end would make the client believe that it received everything.
        """
        paced = daphne_backpressure(self._send)
        if paced is None:
            yield
            return
        self._send = paced
        try:
            yield
        except Exception:
            paced.abort()
            raise


current_handoff: ContextVar[Handoff | None] = ContextVar("carillon_handoff", default=None)
"""The hand-off of the request that is being handled under our handler.

A context variable, because whatever wraps `ASGIHandler.__call__` may pass a `send` of its own.
"""


class DisconnectWatch:
    """The `receive` that Django gets. It remembers whether the client has disconnected.

    Django itself awaits `receive` while it sends a response, and may be the one that receives the
    disconnect. A server need not send that message twice.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.disconnected = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.disconnected = message["type"] == "http.disconnect"
        return message

    def release(self) -> None:
        """The request is over: hold nothing of the server any more, as in `Handoff.release`."""
        self._receive = receive_disconnect


async def run_stream(
    stream: EventStream, receive: Receive, send: Send, warnings: ServerWarnings
) -> None:
    """Keep a stream open until the client leaves or the hub ends it.

    The hub writes to the transport by itself. This function only waits for the disconnect.
    """
    refusal = await stream.refusal()
    if refusal is not None:
        await send({"type": "http.response.body", "body": refusal, "more_body": False})
        return
    warnings.check(send)
    with CancelScope() as cancel_scope:
        hub, subscriber = stream.open(select_transport(send, cancel=cancel_scope.cancel))
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    if stream.end_notice is not None:
        await stream.end_notice()
