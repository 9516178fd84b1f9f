"""The wire that goes past `send`, straight into the connection of a server that we know.

A server's `send` frames each body and hands it to its transport, for each client anew. Here the
bytes are framed already, and the same object goes to everyone's socket. What the socket does not
take at once goes to the server's transport, in order, and keeps the wire busy until it is empty.
"""

import socket
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress

from notifications.wires.asgi import AsgiWire
from notifications.wires.base import Parcel, Send

MARGIN = 1.0


class DirectWire(AsgiWire):
    """`connection` is the socket object, and no number: closed with its transport, it fails.

    `coded`: whether the server told the client that chunked coding follows.
    """

    __slots__ = ("_coded", "_connection", "_ending", "_hang_up")

    def __init__(
        self,
        send: Send,
        *,
        give_up: Callable[[], object],
        connection: socket.socket | None,
        coded: bool,
    ) -> None:
        super().__init__(send, give_up=give_up)
        self._connection = connection
        self._coded = coded
        self._ending = False
        self._hang_up = False

    def _post(self, connection: socket.socket, data: bytes) -> None:
        """Into the socket, where nothing waits in the transport."""
        try:
            sent = connection.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._break()
            return
        if sent != len(data):
            self._hold(memoryview(data)[sent:])

    @abstractmethod
    def _hold(self, rest: bytes | memoryview) -> None:
        """Give the rest to the transport; busy until that is empty, and then `_drained`."""

    def end(self, parcel: Parcel, *, hang_up: bool = False) -> None:
        # The server ends its response when the words are through: only then does it take the
        # connection as free, and may itself stop minding what becomes of them.
        self._hang_up = hang_up
        self.write(parcel)
        if self.busy:
            self._ending = True
        else:
            self._finish()

    def _drained(self) -> None:
        if self._ending:
            self._ending = False
            self._finish()
        super()._drained()

    @abstractmethod
    def _finish(self) -> None:
        """End the response by the server's own means."""


def limit_silence(connection: socket.socket | None, deadline: float | None) -> None:
    """Let the kernel drop a peer that takes nothing, and acknowledges nothing, for that long.

    One that vanished without a word leaves a stream of small events open for a quarter of an hour:
    what it does not take fits into the kernel's buffer. With a margin, so that where the buffer is
    full it is we who close the stream, and name the reason. None is as it was.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        ms = 0 if deadline is None else int((deadline + MARGIN) * 1000)
        with suppress(OSError):  # a UNIX socket, or one that has just been closed
            connection.setsockopt(socket.IPPROTO_TCP, option, ms)
