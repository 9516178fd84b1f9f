"""A transport that bypasses `send` and writes to the socket of a server whose internals we know.

A server's `send` frames each body anew for each client and hands it to the server's transport. A
direct transport writes a payload that is framed already, the same bytes object to every socket.
Bytes that the socket does not take at once go to the server's transport, which keeps their order,
and the direct transport is busy until the server's transport has sent them.
"""

import socket
from abc import abstractmethod
from collections.abc import Callable

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Payload, Send
from notifications.transport.tcp import is_unresponsive, limit_unsent


class DirectTransport(AsgiTransport):
    """Writes to `connection` as soon as the transport is `_ready`.

    `connection` is the socket object and not its file descriptor: after the server has closed the
    socket, a write to the object fails, while the number might already belong to another socket.

    `_ready` means that the headers are sent, that the buffer of the server's transport is empty,
    and that nobody else writes until the response ends. It is a stored fact and not looked up at
    each write: with ten thousand streams, every object that a write touches is a cache miss.
    """

    __slots__ = ("_coded", "_connection", "_direct_bytes", "_ending", "_hang_up", "_ready")

    def __init__(
        self, send: Send, *, cancel: Callable[[], object], connection: socket.socket | None
    ) -> None:
        super().__init__(send, cancel=cancel)
        self._connection = connection
        limit_unsent(connection)
        self._ready = False
        self._coded = False
        """Whether the server's headers announce chunked transfer coding."""
        self._direct_bytes = 0
        """Bytes of the body that the server does not know of."""
        self._ending = False
        self._hang_up = False

    def write(self, payload: Payload) -> None:
        if not self._ready or self._connection is None:
            self._write_through_server(payload)
            return
        self._direct_bytes += len(payload.raw)
        data = payload.coded if self._coded else payload.raw
        try:
            sent = self._connection.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._fail()
            return
        if sent != len(data):
            self._buffer(memoryview(data)[sent:])

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        # The server ends the response only after the payload is sent: from then on it treats the
        # connection as free, and may stop watching whether the client takes the rest.
        self._hang_up = hang_up
        self.write(payload)
        if self.busy:
            self._ending = True
        else:
            self._end_response()

    def is_unresponsive(self, seconds: float) -> bool:
        return is_unresponsive(self._connection, seconds)

    def release(self) -> None:
        self._ending = False  # it has ended, or was aborted
        super().release()

    def _on_drained(self) -> None:
        if self._ending:
            self._ending = False
            self._end_response()
        super()._on_drained()

    @abstractmethod
    def _write_through_server(self, payload: Payload) -> None:
        """Write by the server's `send` or to the server's transport."""

    @abstractmethod
    def _buffer(self, unsent: bytes | memoryview) -> None:
        """Hand the bytes to the server's transport: busy until it is empty, then `_on_drained`."""

    @abstractmethod
    def _end_response(self) -> None:
        """End the response by the server's own means, and close the connection if `_hang_up`."""
