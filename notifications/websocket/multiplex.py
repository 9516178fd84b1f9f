"""The transports of several subscriptions on one WebSocket, which holds one chunk for all."""

import asyncio
from typing import Protocol

from notifications.transport.base import Loss, Payload, Transport
from notifications.websocket.connection import WebSocketConnection
from notifications.websocket.protocol import closing_reason, encode_frame

TOO_SLOW = 4408, "too_slow"


class SubscriptionCallbacks(Protocol):
    """The session, as its transports know it. It sends the closing message of a subscription."""

    def subscription_ended(self, transport: "WebSocketTransport", reason: str) -> None: ...


class WebSocketTransport(Transport):
    """The transport of one subscription. `prelude` goes out in front of its first payload."""

    __slots__ = ("_multiplexer", "id", "prelude")

    def __init__(self, multiplexer: "Multiplexer", id: str, prelude: bytes) -> None:
        super().__init__()
        self._multiplexer = multiplexer
        self.id = id
        self.prelude = prelude

    def write(self, payload: Payload) -> None:
        self._multiplexer.write(self, payload)

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        self._multiplexer.session.subscription_ended(self, closing_reason(payload.raw))

    def abort(self) -> None:
        self._multiplexer.force_close()

    def release(self) -> None:
        self._multiplexer.discard(self)
        super().release()

    def limit_unacknowledged(self, seconds: float) -> None:
        self._multiplexer.connection.limit_unacknowledged(seconds)


class Multiplexer:
    """Shares the connection: while it is busy all transports are, and all resume once it drains.

    The transport that wrote last comes last, so that no transport waits for the whole history of
    another one.
    """

    __slots__ = ("_close_after", "_transports", "_waiter", "closed", "connection", "session")

    session: SubscriptionCallbacks

    def __init__(self, connection: WebSocketConnection) -> None:
        self._transports: dict[WebSocketTransport, None] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._close_after: tuple[int, str] | None = None
        """The code and the reason of a close that waits until the connection has drained."""
        self.connection = connection
        self.closed = False
        """Whether nothing more is sent: the connection is closed, or about to close."""
        connection.callbacks = self

    def transport(self, id: str, prelude: bytes) -> WebSocketTransport:
        transport = WebSocketTransport(self, id, prelude)
        transport.busy = self.busy
        self._transports[transport] = None
        return transport

    def discard(self, transport: WebSocketTransport) -> None:
        self._transports.pop(transport, None)

    @property
    def busy(self) -> bool:
        return self.connection.busy or self.closed

    async def wait_until_free(self) -> None:
        """Return once a message can be sent, or once this is `closed`.

        The caller must send in the same step of the event loop. One caller at a time may wait; it
        comes before all transports.
        """
        while self.connection.busy and not self.closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def write(self, transport: WebSocketTransport, payload: Payload) -> None:
        if transport.prelude:
            messages, transport.prelude = transport.prelude + payload.raw, b""
            text = encode_frame(transport.id, messages)
        else:
            text = _frame_of(transport.id, payload)
        if len(self._transports) > 1:
            self._transports[transport] = self._transports.pop(transport)
        self._send_text(text)

    def send(self, id: str | None, messages: bytes) -> None:
        """Send encoded messages about a subscription. Only while not `busy`."""
        self._send_text(encode_frame(id, messages))

    def _send_text(self, text: str) -> None:
        self.connection.send_text(text)
        self._mark_busy()

    def _mark_busy(self) -> None:
        if self.busy:
            for transport in self._transports:
                transport.busy = True

    # The end

    def close(self, code: int, reason: str) -> None:
        """Close with the closing handshake, after the message that is under way."""
        if self.closed:
            return
        self.closed = True
        if self.connection.busy:
            self._close_after = code, reason
        else:
            self.connection.close(code, reason)
        self._mark_busy()
        self._wake_waiter()

    def force_close(self) -> None:
        self.closed = True
        self.connection.force_close(*TOO_SLOW)
        self._mark_busy()
        self._wake_waiter()

    def disconnected(self) -> None:
        """Send nothing more: the client has left."""
        self.closed = True

    def release(self) -> None:
        """The connection is over. What it consists of must not wait for the garbage collector."""
        self.connection.release()
        del self.session

    # The connection calls these.

    def drained(self) -> None:
        if self._close_after is not None:
            close, self._close_after = self._close_after, None
            self.connection.close(*close)
        if self._wake_waiter():
            asyncio.get_running_loop().call_soon(self._resume_transports)
        else:
            self._resume_transports()

    def _resume_transports(self) -> None:
        if self.busy:
            return
        transports = list(self._transports)
        for transport in transports:
            transport.busy = False
        for transport in transports:
            transport.callbacks.drained()

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        self.closed = True
        for transport in list(self._transports):
            transport.callbacks.lost(loss)
        self._wake_waiter()

    def _wake_waiter(self) -> bool:
        """Let the caller of `wait_until_free` go on. Returns whether there was one."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True


_last_frame: tuple[str, Payload, str] = "", Payload(b""), ""


def _frame_of(id: str, payload: Payload) -> str:
    """The frame of a payload, made once for consecutive writes under the same subscription id."""
    global _last_frame
    last_id, last_payload, text = _last_frame
    if last_payload is not payload or last_id != id:
        text = encode_frame(id, payload.raw)
        _last_frame = id, payload, text
    return text
