"""What every transport promises: it takes one payload at a time and reports when that is sent.

The hub writes to a transport only while it is not `busy`. A payload that cannot leave at once makes
the transport busy, and it holds no second one. So the memory that a client can occupy by not
reading is one payload on every server.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol

type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class Payload:
    """A body in both forms that transports send. It is made once for many clients.

    `raw` is the body itself. `coded` is the same body as one chunk of HTTP's chunked transfer
    coding (RFC 9112 §7.1), for transports that write to the socket behind the server's back.
    """

    __slots__ = ("coded", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.coded = b"%x\r\n%b\r\n" % (len(raw), raw)


class Loss(StrEnum):
    """Why a transport can send nothing more. The values are reasons why a stream is closed."""

    LEFT = "client_left"
    """The client has closed the connection."""
    UNRESPONSIVE = "too_slow"
    """The client has acknowledged nothing for too long (`Transport.limit_unacknowledged`)."""
    FAILED = "write_failed"


class TransportCallbacks(Protocol):
    """The subscriber, as a transport knows it.

    A transport calls these methods on the event loop, and never from inside `write` or `end`: the
    subscriber need not expect a call while it writes.
    """

    def drained(self) -> None:
        """The last payload is sent: the transport takes another, or, after `end`, is finished."""

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        """The connection ended, and the transport can send nothing more.

        This may also come after `abort`, if the transport was busy.
        """


class _Nobody:
    def drained(self) -> None:
        pass

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        pass


NOBODY = _Nobody()
"""The callbacks of a transport whose stream is over."""


async def send_nothing(message: Message) -> None:
    """A `send` in place of the server's, where nobody is left to receive anything."""
    del message


async def receive_disconnect() -> Message:
    """A `receive` in place of the server's, where the request is over."""
    return {"type": "http.disconnect"}


async def wait_for_disconnect(receive: Receive) -> None:
    """Read the request to its end: the client has left, or the response has been sent."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Transport(ABC):
    """The way to one client. Set `callbacks` before the first `write`.

    The calls are any number of `write`, then at most one `end`; `abort` may come at any time, and
    `release` comes last.
    """

    __slots__ = ("busy", "callbacks")

    callbacks: TransportCallbacks

    def __init__(self) -> None:
        self.busy = False
        """Whether a payload is not sent yet. It stays true if the connection fails.

        A plain attribute and not a property, because the hub reads it for every delivery.
        """

    @abstractmethod
    def write(self, payload: Payload) -> None:
        """Send a payload, which is not empty. Call it only while the transport is not `busy`.

        Either the payload is sent when `write` returns, or the transport is then busy, and the
        callback `drained` or `lost` follows. A failure is reported by `lost`, not raised.
        """

    @abstractmethod
    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        """Send the last payload and finish the response. Call it only while not `busy`.

        With `break_off` the client gets the payload and then the end of the connection without the
        end of the body (the last chunk of RFC 9112 §7.1). Clients that come back only after an
        error, such as Datastar, then come back. A body without chunks (HTTP/1.0) has no such end,
        and a WebSocket has none either: there `break_off` changes nothing.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection and free its memory at once, even if the client has not read all.

        Idempotent: calling it again has no effect.
        """

    def release(self) -> None:
        """The stream is over: report nothing more, and refer to nothing that refers back.

        A stream must be freed by its last reference, because cyclic garbage is collected rarely.
        What the transport has been given to send is still sent.
        """
        self.callbacks = NOBODY

    def limit_unacknowledged(self, seconds: float) -> None:  # noqa: B027
        """End the connection if its client acknowledges nothing of what is sent for `seconds`.

        Call it once, when the stream opens. It does nothing if the transport has no socket.
        """

    @property
    def sent_bytes(self) -> int | None:
        """How many bytes the client has received on this connection; None if that is unknown."""
        return None
