"""The carrier: the one wire of a WebSocket, on which those of its subscriptions are."""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Send
from notifications.transport.tcp import hold_little, unanswered

PARTING = 1.0
"""Seconds for which a connection that is cut is left to whoever still reads."""


class Carrier(AsgiTransport):
    """Says one text at a time; what a server buffers too much of makes it busy."""

    __slots__ = ("_cut", "_paused", "_server")

    def __init__(self, send: Send, *, give_up: Callable[[], object]) -> None:
        own = own_send(send)
        super().__init__(own, give_up=give_up)
        self._server = server_of(own)
        self._paused = False
        self._cut = False
        hold_little(self._server.connection)
        self._server.mind(self)

    def say(self, text: str) -> None:
        """Only while not `busy`."""
        self._work(self._carry({"type": "websocket.send", "text": text}))
        self.busy |= self._paused

    def close(self, code: int, reason: str) -> None:
        """In good order. Only while not `busy`."""
        if not self._server.close(code, reason):
            closing = {"type": "websocket.close", "code": code, "reason": reason}
            self._work(self._carry(closing))

    def cut(self, code: int, reason: str) -> None:
        """Let go of a client that does not read, and tell it why, should it do so after all."""
        if self._cut:
            return
        self._cut = True
        let_go = self._server.cut(code, reason)
        if let_go is None:
            self.abort()
        else:
            self._loop.call_later(PARTING, let_go)

    def unanswered(self, seconds: float) -> bool:
        return unanswered(self._server.connection, seconds)

    def _drained(self) -> None:
        self.busy = self._paused or self._working is not None
        if not self.busy:
            super()._drained()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._paused = self.busy = True

    def resumeProducing(self) -> None:  # noqa: N802
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._drained)

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is gone, as `receive` says too."""


# What the server of a WebSocket is asked to do, beyond what ASGI knows.
#
# Daphne takes whatever it is sent into memory, and drops the reason with which a connection closes;
# no server can be told through ASGI to let go of one whose client reads nothing.


_MAX_REASON = 123  # bytes, RFC 6455 §5.5


class Producer(Protocol):
    """Whom a transport tells that its buffer is too full, and that it is empty again."""

    def pauseProducing(self) -> None: ...  # noqa: N802 - Twisted's names

    def resumeProducing(self) -> None: ...  # noqa: N802

    def stopProducing(self) -> None: ...  # noqa: N802


class Server:
    """Any: nothing is known of its connection."""

    connection: Any = None
    """What has the options of a socket, where that is known."""

    def mind(self, producer: Producer) -> None:
        """Have the producer told, where the server's `send` itself does not wait."""

    def close(self, code: int, reason: str) -> bool:
        """Close in good order, unless that is for ASGI to do."""
        del code, reason
        return False

    def cut(self, code: int, reason: str) -> Callable[[], object] | None:
        """Say why, as far as the client still reads, and return what lets go of the connection."""
        del code, reason
        return None


class Daphne(Server):
    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport: Any = protocol.transport
        self.connection = getattr(self._transport, "socket", None)

    def mind(self, producer: Producer) -> None:
        # So far it was the HTTP channel, which has nothing more to say.
        self._transport.unregisterProducer()
        self._transport.registerProducer(producer, True)

    def close(self, code: int, reason: str) -> bool:
        self._protocol.sendCloseFrame(code=code, reasonUtf8=_utf8(reason))
        return True

    def cut(self, code: int, reason: str) -> Callable[[], object] | None:
        self._transport.write(close_frame(code, reason))
        let_go: Callable[[], object] = getattr(
            self._transport, "abortConnection", self._transport.loseConnection
        )
        return let_go


class Uvicorn(Server):
    def __init__(self, protocol: Any) -> None:
        self._transport: Any = protocol.transport
        self.connection = self._transport.get_extra_info("socket")

    def cut(self, code: int, reason: str) -> Callable[[], object] | None:
        self._transport.write(close_frame(code, reason))
        abort: Callable[[], object] = self._transport.abort
        return abort


def server_of(send: Send) -> Server:
    """Found by the features of its own `send`."""
    if isinstance(send, partial):
        [protocol, *_] = [*send.args, None]
        if type(protocol).__module__ == "daphne.ws_protocol":
            return Daphne(protocol)
    protocol = getattr(send, "__self__", None)
    if type(protocol).__module__.startswith("uvicorn.protocols.websockets."):
        return Uvicorn(protocol)
    return Server()


def own_send(send: Send) -> Send:
    """The server's, past Channels' session middleware, which waits for a response of HTTP."""
    wrapper = getattr(send, "__self__", None)
    while type(wrapper).__module__ == "channels.sessions":
        inner: Send = wrapper.real_send  # type: ignore[union-attr]
        send, wrapper = inner, getattr(inner, "__self__", None)
    return send


def close_frame(code: int, reason: str) -> bytes:
    """One that is not masked, as a server's (RFC 6455 §5.5.1)."""
    payload = struct.pack("!H", code) + _utf8(reason)
    return b"\x88%c%b" % (len(payload), payload)


def _utf8(reason: str) -> bytes:
    return reason.encode()[:_MAX_REASON]
