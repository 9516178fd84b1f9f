"""The hand-off: a stream leaves Django's request behind.

Under Django's own ASGI handler, a streaming response keeps its request, a thread and a database
connection for as long as it lasts. An `EventStreamResponse` lasts for hours. So our handler lets
Django send the headers of the response, and nothing else. The request then ends as any other does
(`response.close`, `request_finished`, the thread is released), and only after that the stream runs.

    view ──▶ EventStreamResponse ──▶ Handoff.take     the stream is taken out of the response
    Django ends the request ──▶ opening.run_stream    the hub writes to the transport
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from notifications.asgi.responses import EventStreamResponse, start_message
from notifications.conf import get_settings
from notifications.hub import page_cursor
from notifications.hub.stream import EventStream
from notifications.transport.base import (
    Message,
    Send,
    send_nothing,
)
from notifications.transport.daphne import daphne_backpressure
from notifications.transport.detach import ServerConnection
from notifications.transport.select import server_connection
from notifications.transport.uvicorn import is_connection_closed
from notifications.transport.wrappers import unwrap


class Handoff:
    """The `send` that Django gets. It also keeps the stream of the response, once `take` has found
    one."""

    def __init__(self, send: Send, scope: dict[str, Any], *, is_fast: bool = False) -> None:
        self.scope = scope
        self.is_fast = is_fast
        """Whether the request takes the fast path."""
        self._send = send
        self.stream: EventStream | None = None
        self.connection: ServerConnection | None = None
        """From which the socket of the stream can be taken."""

    async def __call__(self, message: Message) -> None:
        try:
            await self._send(message)
        except RuntimeError:
            # uvloop raises `RuntimeError` if uvicorn has closed the connection, which it does for
            # some pipelined requests. Nobody is left to receive the message.
            if not is_connection_closed(unwrap(self._send)):
                raise

    def take(self, response: EventStreamResponse) -> bool:
        """Take the stream out of its response. The caller then sends the headers and nothing else.

        False if a middleware has wrapped the iterator of the response. Only that middleware knows
        what the client is to receive, so Django has to iterate over the response.
        """
        self.stream = response.detach_stream()
        if self.stream is None:
            return False
        if self.scope["http_version"].startswith("1.") and self.scope["method"] != "HEAD":
            # The connection is the stream's alone: it ends when the stream ends.
            response.headers["Connection"] = "close"
        if not response.has_header("Content-Length"):
            self.connection = server_connection(self._send, self.scope)
        return True

    async def send_head(self, response: EventStreamResponse, send: Send) -> None:
        """Send the head of a response whose stream has been taken, by the `send` that Django has.

        uvicorn sends nothing until the client has taken most of the response to an earlier request
        that it has pipelined. If that takes too long, the connection is over.
        """
        head, connection = start_message(response), self.connection
        if connection is None or not connection.is_behind:
            # A timer keeps the context of the request until it would have been due, even cancelled.
            await send(head)
            return
        try:
            async with asyncio.timeout(get_settings().WRITE_DEADLINE):
                await send(head)
        except TimeoutError:
            connection.reset()
            self.stream = self.connection = None

    def release(self) -> tuple[EventStream | None, ServerConnection | None]:
        """The stream, if there is one, and the connection from which its socket can be taken.

        The request is over, and nothing is sent for it any more.

        Django's `handle` raises exceptions whose tracebacks hold this object, in cycles: what
        belongs to the stream must not wait with them for the garbage collector.
        """
        page_cursor.forget(self.scope)
        handed_off = self.stream, self.connection
        self.stream, self.connection, self._send = None, None, send_nothing
        return handed_off

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
