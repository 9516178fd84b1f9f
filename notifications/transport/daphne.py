"""Daphne: a transport for its streams, and back-pressure for all its other streaming responses.

Daphne's `send` is `partial(server.handle_reply, request)`. It never waits: Daphne buffers whatever
it receives. Twisted tells the producer of a request when the buffer of the connection is too full,
and when it is empty again (`IPushProducer`); both classes here register themselves as producer.

The request's and the connection's attributes are undocumented: `docs/extend.md` lists those that
are used here.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from notifications.transport.base import NOBODY, Message, Payload, Send, Transport
from notifications.transport.direct import DirectTransport

DISCONNECT_SECONDS = 1.0
"""How long after the end of a connection `receive` has time to report it."""


def daphne_request(send: Send) -> Any | None:
    """Daphne's request, or None if `send` is not Daphne's own or the request has a producer."""
    if not isinstance(send, partial) or len(send.args) != 1 or send.keywords:
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


def daphne_transport(send: Send, *, cancel: Callable[[], object]) -> Transport | None:
    """A transport for this response, or None if `send` is not Daphne's own."""
    request = daphne_request(send)
    if request is None:
        return None
    return DaphneTransport(send, cancel=cancel, request=request, connection=_socket(request))


def _socket(request: Any) -> socket.socket | None:
    """The socket of the connection, if it is plain TCP and carries HTTP/1."""
    transport = getattr(request.channel, "transport", None)
    # The type is compared because a transport that encrypts forwards every attribute that it lacks
    # to the transport below it, and would look like plain TCP.
    tcp: Any = sys.modules.get("twisted.internet.tcp")
    if tcp is None or not isinstance(transport, tcp.Connection) or transport.TLS:
        return None
    # With a timeout, Daphne itself ends the response, possibly in the middle of our payload.
    if request.server.http_timeout or request.method == b"HEAD":
        return None
    known = all(hasattr(transport, name) for name in ("dataBuffer", "_tempDataLen"))
    return transport.socket if known and isinstance(transport.socket, socket.socket) else None


class DaphneTransport(DirectTransport):
    """Bypasses Daphne if there is a `connection`, from the second payload on.

    Daphne writes the headers together with the first part of the body, and into a buffer.
    """

    __slots__ = ("_lost_timer", "_paused", "_request", "_transport")

    def __init__(
        self,
        send: Send,
        *,
        cancel: Callable[[], object],
        request: Any,
        connection: socket.socket | None,
    ) -> None:
        super().__init__(send, cancel=cancel, connection=connection)
        self._request = request
        self._transport: Any = getattr(request.channel, "transport", None)
        self._paused = False
        self._lost_timer: asyncio.TimerHandle | None = None
        request.registerProducer(self, True)

    def _write_through_server(self, payload: Payload) -> None:
        self._send_body(payload.raw)
        if self._connection is not None and self._request.startedWriting:
            self._ready = True
            self._coded = bool(self._request.chunked)
            self._pause_until_empty()

    def _buffer(self, unsent: bytes | memoryview) -> None:
        self._transport.write(bytes(unsent))
        self._pause_until_empty()

    def _pause_until_empty(self) -> None:
        """Make Twisted report when its buffer is empty, as if the buffer had been too full."""
        transport = self._transport
        # Twisted offers no other way to learn whether its buffer is empty.
        empty = not (transport.dataBuffer or transport._tempDataLen)  # noqa: SLF001
        if not empty and not transport.producerPaused and transport.producer is not None:
            transport.producerPaused = True
            transport.producer.pauseProducing()

    def _on_drained(self) -> None:
        self.busy = self._paused or self._sending is not None
        if not self.busy:
            super()._on_drained()

    def _end_response(self) -> None:
        self._request.unregisterProducer()
        # Daphne logs this number in its access log.
        self._request.sentLength += self._direct_bytes
        if self._hang_up:
            self._request.channel.persistent = False
        self._send_body(b"", more_body=False)

    def abort(self) -> None:
        if hasattr(self._transport, "abortConnection"):
            self._transport.abortConnection()
        super().abort()

    def release(self) -> None:
        # Twisted's request keeps its producer, so the producer must not keep the request.
        self._request = self._transport = self._connection = None
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
    """A `send` that waits for the client, or None if `send` is not Daphne's own."""
    request = daphne_request(send)
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
