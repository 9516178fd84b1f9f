"""The carrier: the one wire of a WebSocket, on which those of its subscriptions are."""

from collections.abc import Callable

from notifications.websockets.servers import own_send, server_of
from notifications.wires.asgi import AsgiWire
from notifications.wires.base import Send
from notifications.wires.kernel import hold_little, unanswered

PARTING = 1.0
"""Seconds for which a connection that is cut is left to whoever still reads."""


class Carrier(AsgiWire):
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
