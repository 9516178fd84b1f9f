"""The connection of one WebSocket: text messages, back-pressure, and two ways to close it."""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Send
from notifications.transport.tcp import limit_unacknowledged, limit_unsent
from notifications.transport.wrappers import unwrap

FORCED_CLOSE_SECONDS = 1.0
"""After a forced close, a client that still reads has this long to receive the reason."""


class WebSocketConnection(AsgiTransport):
    """Sends one message at a time. Busy while `send` waits or the server's buffer is full."""

    __slots__ = ("_adapter", "_force_closed", "_paused")

    def __init__(self, send: Send, *, cancel: Callable[[], object]) -> None:
        server_send = unwrap_send(send)
        super().__init__(server_send, cancel=cancel)
        self._adapter = adapter_for(unwrap(server_send))
        self._paused = False
        self._force_closed = False
        limit_unsent(self._adapter.connection)
        self._adapter.register_producer(self)

    def send_text(self, text: str) -> None:
        """Only while not `busy`."""
        self._run(self._send_message({"type": "websocket.send", "text": text}))
        self.busy |= self._paused

    def close(self, code: int, reason: str) -> None:
        """Close with the WebSocket closing handshake. Only while not `busy`."""
        if not self._adapter.close(code, reason):
            closing = {"type": "websocket.close", "code": code, "reason": reason}
            self._run(self._send_message(closing))

    def force_close(self, code: int, reason: str) -> None:
        """Drop a client that does not read, whether `busy` or not; a close frame gives the reason.

        Idempotent.
        """
        if self._force_closed:
            return
        self._force_closed = True
        drop = self._adapter.send_close_frame(code, reason)
        if drop is None:
            self.abort()
        else:
            self._loop.call_later(FORCED_CLOSE_SECONDS, drop)

    def limit_unacknowledged(self, seconds: float) -> None:
        limit_unacknowledged(self._adapter.connection, seconds)

    def _on_drained(self) -> None:
        self.busy = self._paused or self._sending is not None
        if not self.busy:
            super()._on_drained()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._paused = self.busy = True

    def resumeProducing(self) -> None:  # noqa: N802
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._on_drained)

    def stopProducing(self) -> None:  # noqa: N802
        """Ignored: `receive` reports the end of the connection too."""


# Server adapters: the abilities of a server that ASGI does not offer.
#
# Daphne buffers all messages without a limit, and drops the reason of a close. ASGI has no way to
# drop a connection whose client reads nothing.


_MAX_REASON_BYTES = 123  # RFC 6455 §5.5


class Producer(Protocol):
    """What Twisted calls when the buffer of a transport is full, and when it is empty again."""

    def pauseProducing(self) -> None: ...  # noqa: N802 - Twisted's names

    def resumeProducing(self) -> None: ...  # noqa: N802

    def stopProducing(self) -> None: ...  # noqa: N802


class ServerAdapter:
    """The adapter for an unknown server: its connection cannot be reached."""

    connection: Any = None
    """The socket, or an object with the same `getsockopt` and `setsockopt`; None if unknown."""

    def register_producer(self, producer: Producer) -> None:
        """Have the server call the producer. For servers whose `send` does not wait."""

    def close(self, code: int, reason: str) -> bool:
        """Close with a reason; False if that is left to the `websocket.close` message of ASGI."""
        del code, reason
        return False

    def send_close_frame(self, code: int, reason: str) -> Callable[[], object] | None:
        """Write a close frame past all buffers, and return what drops the connection.

        None if the connection cannot be reached.
        """
        del code, reason
        return None


class DaphneAdapter(ServerAdapter):
    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport: Any = protocol.transport
        self.connection = getattr(self._transport, "socket", None)

    def register_producer(self, producer: Producer) -> None:
        # Until here the producer was the HTTP channel, which sends nothing after the upgrade.
        self._transport.unregisterProducer()
        self._transport.registerProducer(producer, True)

    def close(self, code: int, reason: str) -> bool:
        self._protocol.sendCloseFrame(code=code, reasonUtf8=_encode_reason(reason))
        return True

    def send_close_frame(self, code: int, reason: str) -> Callable[[], object] | None:
        self._transport.write(close_frame(code, reason))
        drop: Callable[[], object] = getattr(
            self._transport, "abortConnection", self._transport.loseConnection
        )
        return drop


class UvicornAdapter(ServerAdapter):
    def __init__(self, protocol: Any) -> None:
        self._transport: Any = protocol.transport
        self.connection = self._transport.get_extra_info("socket")

    def send_close_frame(self, code: int, reason: str) -> Callable[[], object] | None:
        self._transport.write(close_frame(code, reason))
        abort: Callable[[], object] = self._transport.abort
        return abort


def adapter_for(send: Send) -> ServerAdapter:
    """The adapter for the server that made this `send`."""
    if isinstance(send, partial):
        [protocol, *_] = [*send.args, None]
        if type(protocol).__module__ == "daphne.ws_protocol":
            return DaphneAdapter(protocol)
    protocol = getattr(send, "__self__", None)
    if type(protocol).__module__.startswith("uvicorn.protocols.websockets."):
        return UvicornAdapter(protocol)
    return ServerAdapter()


def unwrap_send(send: Send) -> Send:
    """The server's `send`, without the wrapper of Channels' session middleware.

    That wrapper saves sessions and sets cookies when an HTTP response starts: never here.
    """
    wrapper = getattr(send, "__self__", None)
    while type(wrapper).__module__ == "channels.sessions":
        inner: Send = wrapper.real_send  # type: ignore[union-attr]
        send, wrapper = inner, getattr(inner, "__self__", None)
    return send


def close_frame(code: int, reason: str) -> bytes:
    """A close frame without a mask, as servers send it (RFC 6455 §5.5.1)."""
    payload = struct.pack("!H", code) + _encode_reason(reason)
    return b"\x88%c%b" % (len(payload), payload)


def _encode_reason(reason: str) -> bytes:
    return reason.encode()[:_MAX_REASON_BYTES]
