"""Daphne: its connections, and back-pressure for all its streaming responses.

Daphne's `send` is `partial(server.handle_reply, request)`. It never waits: Daphne buffers whatever
it receives. Twisted tells the producer of a request when the buffer of the connection is too full,
and when it is empty again (`IPushProducer`); the classes here register themselves as producer.

The request's and the connection's attributes are undocumented: `docs/extend.md` lists those that
are used here.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import NOBODY, Message, Send, Transport
from notifications.transport.detach import ServerConnection
from notifications.transport.tcp import limit_unacknowledged, limit_unsent, reset_at_close
from notifications.transport.wrappers import unwrap

DISCONNECT_SECONDS = 1.0
"""How long after the end of a connection `receive` has time to report it."""


def daphne_request(send: Send) -> Any | None:
    """Daphne's request, or None if `send` is not Daphne's own or the request has a producer."""
    if type(send) is not partial or len(send.args) != 1 or send.keywords:
        return None
    function = getattr(send.func, "__func__", None)
    request = send.args[0]
    if function is None or function.__globals__["__name__"] != "daphne.server":
        return None
    if not any(kind.__module__ == "daphne.http_protocol" for kind in type(request).__mro__):
        return None
    if request.channel is None or request.producer is not None:
        return None
    return request


def daphne_connection(server_send: Send) -> ServerConnection | None:
    """The connection, if `server_send` is Daphne's own and the connection is not encrypted."""
    request = daphne_request(server_send)
    transport = getattr(request.channel, "transport", None) if request is not None else None
    # The type is compared because a transport that encrypts forwards every attribute that it lacks
    # to the transport below it, and would look like plain TCP.
    tcp: Any = sys.modules.get("twisted.internet.tcp")
    if tcp is None or not isinstance(transport, tcp.Connection) or transport.TLS:
        return None
    return DaphneConnection(request, transport)


def daphne_transport(
    server_send: Send, *, send: Send, cancel: Callable[[], object]
) -> Transport | None:
    """A transport for a response that stays with Daphne, if `server_send` is Daphne's own."""
    request = daphne_request(server_send)
    return None if request is None else DaphneTransport(send, cancel=cancel, request=request)


class DaphneConnection(ServerConnection):
    def __init__(self, request: Any, transport: Any) -> None:
        self._request = request
        self._transport = transport
        # All that `detach` will need is there, or this fails before the head is sent.
        _ = transport.dataBuffer, transport._tempDataLen, transport.producerPaused  # noqa: SLF001
        _ = transport.abortConnection, request.startedWriting, request.chunked, request.clientproto

    def prepare(self) -> None:
        # Daphne would keep the connection although the head says that it closes.
        self._request.channel.persistent = False

    async def flush(self, send: Send) -> None:
        # Daphne writes the head together with the first part of the body, and into a buffer.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        transport, request = self._transport, self._request
        # Twisted offers no other way to learn whether its buffer is empty.
        is_empty = not (transport.dataBuffer or transport._tempDataLen)  # noqa: SLF001
        if not is_empty and transport.producer is not None:
            emptied = asyncio.Event()
            request.registerProducer(_Emptied(emptied), True)
            # As if the buffer had been too full.
            transport.producerPaused = True
            transport.producer.pauseProducing()
            try:
                await emptied.wait()
            finally:
                if request.channel is not None:
                    request.unregisterProducer()
        if request.channel is None or not transport.connected:
            raise ConnectionResetError

    @property
    def is_chunked(self) -> bool | None:
        request = self._request
        is_chunked = bool(request.chunked)
        if not request.startedWriting or is_chunked is (request.clientproto == b"HTTP/1.0"):
            return None
        return is_chunked

    def get_socket(self) -> socket.socket:
        found: socket.socket = self._transport.socket
        return found

    def drop(self) -> None:
        self._transport.abortConnection()

    reset = drop  # Twisted resets a connection that it aborts

    def restore(self, ours: socket.socket) -> None:
        reset_at_close(ours, enabled=False)


class _Emptied:
    """A producer (Twisted's IPushProducer) that waits until the buffer is empty."""

    def __init__(self, emptied: asyncio.Event) -> None:
        self._emptied = emptied

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        pass

    def resumeProducing(self) -> None:  # noqa: N802
        self._emptied.set()

    stopProducing = resumeProducing  # noqa: N815 - the connection is gone


class DaphneTransport(AsgiTransport):
    """For a response that must go through `send`, such as one over TLS: with back-pressure."""

    __slots__ = ("_lost_timer", "_paused", "_request", "_transport")

    def __init__(self, send: Send, *, cancel: Callable[[], object], request: Any) -> None:
        super().__init__(send, cancel=cancel)
        self._request = request
        self._transport: Any = getattr(request.channel, "transport", None)
        self._paused = False
        self._lost_timer: asyncio.TimerHandle | None = None
        limit_unsent(self._socket)
        request.channel.persistent = False  # as the head says
        request.registerProducer(self, True)

    @property
    def _socket(self) -> socket.socket | None:
        return getattr(self._transport, "socket", None)

    def limit_unacknowledged(self, seconds: float) -> None:
        limit_unacknowledged(self._socket, seconds)

    def _run(self, work: Any) -> None:
        super()._run(work)
        self.busy |= self._paused

    def _on_drained(self) -> None:
        self.busy = self._paused or self._sending is not None
        if not self.busy:
            super()._on_drained()

    async def _send_message(self, message: Message) -> None:
        if message.get("more_body") is False:
            self._request.unregisterProducer()
            self._paused = False
        await super()._send_message(message)

    def _close_connection(self) -> None:
        self._request.unregisterProducer()
        self._request.channel.loseConnection()

    def abort(self) -> None:
        if hasattr(self._transport, "abortConnection"):
            self._transport.abortConnection()
        super().abort()

    def release(self) -> None:
        # Twisted's request keeps its producer, so the producer must not keep the request.
        self._request = self._transport = None
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None
        super().release()

    # Twisted's IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._paused = self.busy = True

    def resumeProducing(self) -> None:  # noqa: N802
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._on_drained)

    def stopProducing(self) -> None:  # noqa: N802
        # The connection is gone, and `receive` reports that the client left. If nobody awaits
        # `receive`, this call frees the stream: Daphne's `send` would never fail.
        if self.callbacks is not NOBODY:
            self._lost_timer = self._loop.call_later(DISCONNECT_SECONDS, self.callbacks.lost)


def daphne_backpressure(send: Send) -> "DaphneBackpressure | None":
    """A `send` that waits for the client, or None if this `send` is not Daphne's."""
    request = daphne_request(unwrap(send))
    return None if request is None else DaphneBackpressure(send, request)


class DaphneBackpressure:
    """`send` for one streaming response: it waits while the connection's buffer is too full.

    The `send` of other servers waits by itself. Daphne's keeps everything in memory, and after an
    error in the response it leaves the connection open, as if more were to come: see `abort`.
    """

    def __init__(self, send: Send, request: Any) -> None:
        self._send = send
        self._request = request
        self._may_send = asyncio.Event()
        self._may_send.set()
        request.registerProducer(self, True)

    async def __call__(self, message: Message) -> None:
        if not message.get("more_body") and message["type"] == "http.response.body":
            self._release()
        await self._send(message)
        await self._may_send.wait()

    def _release(self) -> None:
        if self._request.producer is self:
            self._request.unregisterProducer()
        self._may_send.set()

    def abort(self) -> None:
        """Close the connection, so that no client takes an unfinished response for a whole one."""
        self._release()
        transport = getattr(self._request.channel, "transport", None)
        if transport is not None:
            transport.abortConnection()

    # Twisted's IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._may_send.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._may_send.set()

    def stopProducing(self) -> None:  # noqa: N802
        # The client is gone, which `receive` reports too.
        self._may_send.set()
