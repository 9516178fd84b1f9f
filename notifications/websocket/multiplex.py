"""The wires of several subscriptions on one WebSocket, which holds one chunk for all of them."""

import asyncio
from typing import Protocol

from notifications.transport.base import Payload, Transport
from notifications.websocket.connection import Carrier
from notifications.websocket.protocol import frame, reason_of

TOO_SLOW = 4408, "too_slow"


class WebSocketTransport(Transport):
    """One subscription's. `prelude` goes out with the first of what it carries."""

    __slots__ = ("_socket", "id", "prelude")

    def __init__(self, socket: "Socket", id: str, prelude: bytes) -> None:
        super().__init__()
        self._socket = socket
        self.id = id
        self.prelude = prelude

    def write(self, payload: Payload) -> None:
        self._socket.carry(self, payload)

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        self._socket.listener.ended(self, reason_of(payload.raw))

    def abort(self) -> None:
        self._socket.cut()

    def unanswered(self, seconds: float) -> bool:
        return self._socket.carrier.unanswered(seconds)


class Listener(Protocol):
    """Who is told that a subscription is to end, and says its last words."""

    def ended(self, transport: WebSocketTransport, reason: str) -> None: ...


class Socket:
    """Owns the carrier: when that is busy all wires are, and when it has drained all may go on.

    Whoever had its turn last comes last, so that none waits for another's whole history.
    """

    __slots__ = ("_closing", "_transports", "_waiter", "carrier", "listener", "over")

    listener: Listener

    def __init__(self, carrier: Carrier) -> None:
        self._transports: dict[WebSocketTransport, None] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._closing: tuple[int, str] | None = None
        self.carrier = carrier
        self.over = False
        """Whether nothing more is said, by anybody."""
        carrier.owner = self

    def transport(self, id: str, prelude: bytes) -> WebSocketTransport:
        transport = WebSocketTransport(self, id, prelude)
        transport.busy = self.busy
        self._transports[transport] = None
        return transport

    def discard(self, transport: WebSocketTransport) -> None:
        self._transports.pop(transport, None)

    @property
    def busy(self) -> bool:
        return self.carrier.busy or self.over

    async def free(self) -> None:
        """Until something can be said, in this step of the loop: look whether it is `over`.

        For one at a time, who comes before all wires.
        """
        while self.carrier.busy and not self.over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def carry(self, transport: WebSocketTransport, payload: Payload) -> None:
        if transport.prelude:
            text, transport.prelude = frame(transport.id, transport.prelude + payload.raw), b""
        else:
            text = _framed(transport.id, payload)
        if len(self._transports) > 1:
            self._transports[transport] = self._transports.pop(transport)
        self._say(text)

    def say(self, id: str | None, pieces: bytes) -> None:
        """Only while free."""
        self._say(frame(id, pieces))

    def _say(self, text: str) -> None:
        self.carrier.say(text)
        self._note()

    def _note(self) -> None:
        if self.busy:
            for transport in self._transports:
                transport.busy = True

    def close(self, code: int, reason: str) -> None:
        """In good order, when what has been said is through."""
        if self.over:
            return
        self.over = True
        if self.carrier.busy:
            self._closing = code, reason
        else:
            self.carrier.close(code, reason)
        self._note()
        self._wake()

    def cut(self) -> None:
        self.over = True
        self.carrier.cut(*TOO_SLOW)
        self._note()
        self._wake()

    def drained(self) -> None:
        if self._closing is not None:
            closing, self._closing = self._closing, None
            self.carrier.close(*closing)
        if self._wake():
            asyncio.get_running_loop().call_soon(self._release)
        else:
            self._release()

    def _release(self) -> None:
        if self.busy:
            return
        transports = list(self._transports)
        for transport in transports:
            transport.busy = False
        for transport in transports:
            transport.owner.drained()

    def lost(self) -> None:
        self.over = True
        for transport in list(self._transports):
            transport.owner.lost()
        self._wake()

    def _wake(self) -> bool:
        """Whether there was somebody."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True


_last: tuple[str, Payload, str] = "", Payload(b""), ""


def _framed(id: str, payload: Payload) -> str:
    """Made once for all who get the same one after another, and gave it the same name."""
    global _last
    known, same, text = _last
    if same is not payload or known != id:
        text = frame(id, payload.raw)
        _last = id, payload, text
    return text
