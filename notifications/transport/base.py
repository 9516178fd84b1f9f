"""What every wire promises: one chunk at a time, and word of what became of it.

A wire takes bytes only while it is not `busy`, and holds no others. What cannot go out at once
makes it busy; when that has drained it says so to its owner, once. How much a client that does not
read can make us hold is decided here, on every server.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class Payload:
    """Bytes in the forms that wires send, made once for all who get them.

    `coded` is the same as one chunk of HTTP's chunked coding (RFC 9112 §7.1).
    """

    __slots__ = ("coded", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.coded = b"%x\r\n%b\r\n" % (len(raw), raw)


class Owner(Protocol):
    """Who is told what became of the bytes. Called from the event loop, never from `write`."""

    def drained(self) -> None:
        """The wire takes more, or, after its last words, is through with them."""

    def lost(self) -> None:
        """The wire can carry nothing more."""


class Transport(ABC):
    __slots__ = ("busy", "owner")

    owner: Owner

    def __init__(self) -> None:
        self.busy = False
        """Whether the last bytes are still on their way, or never will be.

        An attribute, since it is asked so often.
        """

    @abstractmethod
    def write(self, payload: Payload) -> None:
        """Hand over some bytes, at least one. Only while not `busy`."""

    @abstractmethod
    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        """The last words, in good order, so that the connection can be used again.

        With `hang_up` it is closed instead, wherever the server can be told. Only while not `busy`.
        """

    @abstractmethod
    def abort(self) -> None:
        """Free everything at once, whatever the client has or has not read. Twice is once."""

    def unanswered(self, seconds: float) -> bool:
        """Whether the client is known not to have acknowledged anything for that long, though
        something was sent. Where nobody can tell, it is not."""
        return False
