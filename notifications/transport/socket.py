"""The transport for a socket of our own, which has been taken out of the server (`detach.py`).

Nothing of the server is left: no task, no coroutine, no protocol. A stream is this object, its
socket, and an entry in the poller of the event loop.
"""

import errno
import socket

from notifications.transport.base import NOBODY, Loss, Payload, Transport
from notifications.transport.poller import Poller, discard_input
from notifications.transport.tcp import (
    acknowledged_bytes,
    limit_unacknowledged,
    reset_at_close,
)

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in chunked transfer coding (RFC 9112 §7.1)."""

CLOSED = socket.socket()
"""In place of a socket that this transport no longer has: each operation on it fails."""
CLOSED.close()


class SocketTransport(Transport):
    """Writes to a socket that does not block, and holds what that has not taken of one payload.

    It has a socket object and not a descriptor: a write to a closed object fails, while the number
    might already belong to another socket. `is_chunked`: whether the head of the response announced
    chunked transfer coding; the body ends with the connection otherwise (HTTP/1.0).
    """

    __slots__ = ("_is_chunked", "_is_ending", "_poller", "_socket", "_unsent")

    def __init__(self, connection: socket.socket, poller: Poller, *, is_chunked: bool) -> None:
        super().__init__()
        self.callbacks = NOBODY
        self._socket = connection
        self._poller = poller
        self._is_chunked = is_chunked
        self._is_ending = False
        self._unsent: memoryview | None = None
        """The rest of the payload. It refers to the bytes that many transports share."""
        poller.add(connection, self)

    def write(self, payload: Payload) -> None:
        # Not by `_send`: the fan-out calls this for each delivery.
        data = payload.coded if self._is_chunked else payload.raw
        try:
            sent = self._socket.send(data)
        except OSError as error:
            self._not_sent(data, error)
            return
        if sent != len(data):
            self._keep(memoryview(data)[sent:])

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        data = payload.coded if self._is_chunked else payload.raw
        if self._is_chunked and not break_off:
            data += LAST_CHUNK
        self._is_ending = True
        if self._send(memoryview(data)):
            self._finish()

    def abort(self) -> None:
        self._unsent = None
        if self._socket is not CLOSED:
            reset_at_close(self._socket, enabled=True)
            self._close()

    def release(self) -> None:
        super().release()
        if not self._is_ending:  # nothing follows any more
            self._is_ending = True
            if not self.busy:
                self._finish()

    def limit_unacknowledged(self, seconds: float) -> None:
        limit_unacknowledged(self._socket, seconds)

    @property
    def sent_bytes(self) -> int | None:
        return acknowledged_bytes(self._socket)

    # Back-pressure

    def _send(self, data: memoryview) -> bool:
        """Whether the socket has taken all of it."""
        try:
            sent = self._socket.send(data)
        except OSError as error:
            self._not_sent(data, error)
            return False
        if sent != len(data):
            self._keep(data[sent:])
            return False
        return True

    def _not_sent(self, data: bytes | memoryview, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            self._keep(memoryview(data))
        else:
            self.busy = True
            # The error is known, and no longer in the socket: the poller would find none there.
            self._poller.remove(self._socket)
            self._poller.loop.call_soon(self._lose, _loss(error.errno))

    def _keep(self, unsent: memoryview) -> None:
        self._unsent = unsent
        self.busy = True
        self._poller.await_writable(self._socket)

    def _finish(self) -> None:
        connection, self._socket = self._socket, CLOSED
        if connection is not CLOSED:
            self._poller.close_gently(connection)

    # The poller calls these.

    def writable(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None and self._send(unsent):
            self.busy = False
            if self._is_ending:
                self._finish()
            self.callbacks.drained()

    def readable(self) -> None:
        if discard_input(self._socket) == 0:
            self.gone()

    def gone(self) -> None:
        self._lose(_loss(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))

    def abandon(self) -> None:
        self.busy = True
        self.callbacks, self._unsent = NOBODY, None
        connection, self._socket = self._socket, CLOSED
        if connection is not CLOSED:
            connection.close()

    def _lose(self, loss: Loss) -> None:
        self.busy = True
        callbacks, self.callbacks = self.callbacks, NOBODY
        self._unsent = None
        try:
            callbacks.lost(loss)
        finally:
            self._close()

    def _close(self) -> None:
        connection, self._socket = self._socket, CLOSED
        if connection is not CLOSED:
            self._poller.remove(connection)
            connection.close()


def _loss(number: int | None) -> Loss:
    """What became of a connection, by the error of its socket; 0 is none."""
    if number == errno.ETIMEDOUT:
        return Loss.UNRESPONSIVE
    if number in (0, errno.ECONNRESET, errno.EPIPE, errno.EBADF):
        return Loss.LEFT
    return Loss.FAILED
