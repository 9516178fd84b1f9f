"""The wire for Daphne, which itself buffers whatever it is sent.

Its `send` is `partial(server.handle_reply, request)`. Twisted tells the producer of a request when
the transport's buffer is too full (`IPushProducer`), and when it is empty again.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from notifications.transport.base import Message, Payload, Send, Transport
from notifications.transport.direct import DirectTransport

GRACE = 1.0


class DaphneTransport(DirectTransport):
    """Past Daphne where there is a `connection`, once Daphne has written the headers.

    Daphne writes those with the first of the body, and into the transport's buffer.
    """

    __slots__ = ("_paused", "_request", "_transport")

    def __init__(
        self,
        send: Send,
        *,
        give_up: Callable[[], object],
        request: Any,
        connection: socket.socket | None,
    ) -> None:
        super().__init__(send, give_up=give_up, connection=connection)
        self._request = request
        self._transport: Any = getattr(request.channel, "transport", None)
        self._paused = False
        request.registerProducer(self, True)

    def _write_otherwise(self, payload: Payload) -> None:
        self._put(payload.raw)
        if self._connection is not None and self._request.startedWriting:
            self._ready = True
            self._coded = bool(self._request.chunked)
            self._wait()

    @property
    def _empty(self) -> bool:
        transport = self._transport
        return not (transport.dataBuffer or transport._tempDataLen)  # noqa: SLF001

    def _hold(self, rest: bytes | memoryview) -> None:
        self._transport.write(bytes(rest))
        self._wait()

    def _wait(self) -> None:
        """Have Twisted say when its buffer is empty, as if it had been too full."""
        transport = self._transport
        if not self._empty and not transport.producerPaused and transport.producer is not None:
            transport.producerPaused = True
            transport.producer.pauseProducing()

    def _drained(self) -> None:
        self.busy = self._paused or self._working is not None
        if not self.busy:
            super()._drained()

    def _finish(self) -> None:
        self._request.unregisterProducer()
        self._request.sentLength += self._sent
        if self._hang_up:
            self._request.channel.persistent = False
        self._put(b"", more_body=False)

    def abort(self) -> None:
        if hasattr(self._transport, "abortConnection"):
            self._transport.abortConnection()
        super().abort()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._paused = self.busy = True

    def resumeProducing(self) -> None:  # noqa: N802
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._drained)

    def stopProducing(self) -> None:  # noqa: N802
        # The connection is gone, and `receive` says that the client left. Should nobody hear it
        # there, this frees the stream: Daphne's `send` would go on as if all were well.
        self._loop.call_later(GRACE, self.owner.lost)


def daphne_request(send: Send) -> Any | None:
    """None if this is not Daphne's own `send`, or if somebody minds its transport already."""
    if not isinstance(send, partial) or len(send.args) != 1 or send.keywords:
        return None
    code = getattr(send.func, "__func__", None)
    request = send.args[0]
    if code is None or code.__globals__["__name__"] != "daphne.server":
        return None
    if not any(kind.__module__ == "daphne.http_protocol" for kind in type(request).__mro__):
        return None
    if request.channel is None or request.producer is not None:
        return None
    return request


def daphne_transport(send: Send, *, give_up: Callable[[], object]) -> Transport | None:
    request = daphne_request(send)
    if request is None:
        return None
    return DaphneTransport(send, give_up=give_up, request=request, connection=_socket(request))


def _socket(request: Any) -> socket.socket | None:
    """What Twisted's transport writes to, if it is plain TCP and carries HTTP/1."""
    transport = getattr(request.channel, "transport", None)
    # By its type: a transport that encrypts passes on whatever it is asked for to the one below.
    tcp: Any = sys.modules.get("twisted.internet.tcp")
    if tcp is None or not isinstance(transport, tcp.Connection) or transport.TLS:
        return None
    # With a timeout Daphne itself ends a response, in the middle of whatever we write.
    if request.server.http_timeout or request.method == b"HEAD":
        return None
    known = all(hasattr(transport, name) for name in ("dataBuffer", "_tempDataLen"))
    return transport.socket if known and isinstance(transport.socket, socket.socket) else None


# Pacing: what streams through Django goes no faster than its client reads.
#
# Other servers see to it in `send`. Daphne takes all it is given and keeps it until it can be sent,
# and after an error it leaves the connection open, as if more were to come.


class Paced:
    """`send` for one response of Daphne's: it waits while the transport's buffer is too full."""

    def __init__(self, send: Send, request: Any) -> None:
        self._send = send
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._clear = asyncio.Event()
        self._clear.set()
        request.registerProducer(self, True)

    async def __call__(self, message: Message) -> None:
        if not message.get("more_body") and message["type"] == "http.response.body":
            self._release()
        await self._send(message)
        await self._clear.wait()

    def _release(self) -> None:
        if self._request.producer is self:
            self._request.unregisterProducer()
        self._clear.set()

    def cut(self) -> None:
        """End it where it is, so that nobody takes what there is for the whole."""
        self._release()
        transport = getattr(self._request.channel, "transport", None)
        if transport is not None:
            transport.abortConnection()

    # Twisted's names, of an IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802
        self._clear.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._clear.set()

    def stopProducing(self) -> None:  # noqa: N802
        # The client is gone, which `receive` tells too.
        self._clear.set()


def paced(send: Send) -> Paced | None:
    """None where the server itself minds how fast its client reads."""
    request = daphne_request(send)
    return None if request is None else Paced(send, request)
