"""What every transport promises: it takes one payload at a time and reports when that is sent.

The hub writes to a transport only while it is not `busy`. A payload that cannot leave at once makes
the transport busy, and it holds no second one. So the memory that a client can occupy by not
reading is one payload on every server.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class Payload:
    """Bytes in both forms in which transports send them, made once for all their receivers.

    `raw` is the body itself. `coded` is the same body as one chunk of HTTP's chunked transfer
    coding (RFC 9112 §7.1), for transports that write to the socket behind the server's back.
    """

    __slots__ = ("coded", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.coded = b"%x\r\n%b\r\n" % (len(raw), raw)


class Owner(Protocol):
    """The subscriber to which a transport reports.

    A transport calls these methods on the event loop, and never from inside `write` or `end`: the
    owner need not expect a call while it writes.
    """

    def drained(self) -> None:
        """The last payload is sent, and the transport takes the next one; or its `end` is sent."""

    def lost(self) -> None:
        """The connection failed, and the transport can send nothing more.

        A transport that was busy when it was aborted may report this too.
        """


class Transport(ABC):
    """The way to one client. Set `owner` before the first `write`.

    The calls are any number of `write`, then at most one `end`; `abort` may come at any time.
    """

    __slots__ = ("busy", "owner")

    owner: Owner

    def __init__(self) -> None:
        self.busy = False
        """Whether the last payload is still being sent, or never will be.

        A plain attribute and not a property, because the hub reads it for every delivery.
        """

    @abstractmethod
    def write(self, payload: Payload) -> None:
        """Send a payload, which is not empty. Call it only while the transport is not `busy`.

        Either the payload is sent when `write` returns, or the transport is then busy, and the
        owner's `drained` or `lost` follows. A failure is reported by `lost`, not raised.
        """

    @abstractmethod
    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        """Send the last payload and finish the response. Call it only while not `busy`.

        The response ends properly, so an HTTP connection can serve another request. With `hang_up`
        the connection is closed instead, where the server offers a way to do so.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection and free its memory at once, whatever the client has not read yet.

        Idempotent: calling it again has no effect.
        """

    def is_unresponsive(self, seconds: float) -> bool:
        """Whether bytes are on their way and the client has acknowledged nothing for `seconds`.

        False where the transport cannot know.
        """
        return False
