"""The wire that goes past `send`, straight into the connection of a server that we know.

A server's `send` frames each body and hands it to its transport, for each client anew. Here the
bytes are framed already, and the same object goes to everyone's socket. What the socket does not
take at once goes to the server's transport, in order, and keeps the wire busy until it is empty.
"""

import socket
from abc import abstractmethod
from collections.abc import Callable

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Payload, Send
from notifications.transport.tcp import hold_little, unanswered


class DirectTransport(AsgiTransport):
    """`connection` is the socket object, and no number: closed with its transport, it fails.

    It is written to while the wire is `_ready`: then the headers are out, the transport's buffer is
    empty, and nobody but the wire writes until the response has ended. That is not looked up at
    each write: with ten thousand streams, whatever is touched is far from the processor.
    """

    __slots__ = ("_coded", "_connection", "_ending", "_hang_up", "_ready", "_sent")

    def __init__(
        self, send: Send, *, give_up: Callable[[], object], connection: socket.socket | None
    ) -> None:
        super().__init__(send, give_up=give_up)
        self._connection = connection
        hold_little(connection)
        self._ready = False
        self._coded = False
        """Whether the server told the client that chunked coding follows."""
        self._sent = 0
        """Bytes of the body that the server knows nothing of."""
        self._ending = False
        self._hang_up = False

    def write(self, payload: Payload) -> None:
        if not self._ready or self._connection is None:
            self._write_otherwise(payload)
            return
        self._sent += len(payload.raw)
        data = payload.coded if self._coded else payload.raw
        try:
            sent = self._connection.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._break()
            return
        if sent != len(data):
            self._hold(memoryview(data)[sent:])

    def unanswered(self, seconds: float) -> bool:
        return unanswered(self._connection, seconds)

    @abstractmethod
    def _write_otherwise(self, payload: Payload) -> None:
        """By way of the server, or of its transport."""

    @abstractmethod
    def _hold(self, rest: bytes | memoryview) -> None:
        """Give the rest to the transport; busy until that is empty, and then `_drained`."""

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        # The server ends its response when the words are through: only then does it take the
        # connection as free, and may itself stop minding what becomes of them.
        self._hang_up = hang_up
        self.write(payload)
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
