"""Takes the socket of a stream out of the server, once that has made the head of the response.

    the server makes the head, which is held ──▶ the server's buffer is empty
         ──▶ the descriptor is duplicated
         ──▶ the server drops its own, while the connection lives on in ours
         ──▶ `receive` reports a disconnect ──▶ the head waits in the socket for the first block

The server does not write the head, so that the head and the first block leave in one packet, which
wakes the client once. The stream joins the hub only when its transport is ready. Since this
connection can serve no other request, the head says `Connection: close` (RFC 9112 §9.6), or a proxy
would put somebody's next request on it. So it is decided before the head is sent.
"""

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from notifications.telemetry.logs import logger
from notifications.transport.base import NOBODY, Loss, Receive, Send, wait_for_disconnect
from notifications.transport.pollers import poller
from notifications.transport.socket import SocketTransport

LOG_EVERY_SECONDS = 10.0
NOT_TAKEN = "The client has not taken the head."


class HeldHead:
    """Stands for a server's transport while the server writes the head of a stream: it holds it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._parts.append(data)

    def writeSequence(self, parts: Iterable[bytes]) -> None:  # noqa: N802 - Twisted's name
        self._parts += parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ServerConnection(ABC):
    """The connection of one request inside of a server, as far as a stream can be taken out of it.

    It exists only for plain HTTP/1 over a stream socket, and for a `send` that nobody has wrapped
    or whose wrappers do not look at bodies.
    """

    resets_at_drop = False
    """Whether the server sets SO_LINGER in the socket as it closes its descriptor."""

    @abstractmethod
    def prepare(self) -> None:
        """The head is about to be sent, and says `Connection: close`. The server must hold it."""

    @property
    def is_behind(self) -> bool:
        """Whether sending the head waits until the client has taken an earlier response."""
        return False

    async def finish_head(self, send: Send) -> None:  # noqa: B027
        """Let the server make the head, if it has not done so when the head was sent."""

    @abstractmethod
    def has_flushed(self) -> bool:
        """Whether the server has written all that came before the head to the socket.

        Raises `ConnectionError` if the client has left.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Return once the server has done so. Raises as `has_flushed`."""

    @property
    @abstractmethod
    def is_chunked(self) -> bool | None:
        """Whether the head announced chunked transfer coding; None if the body is not ours to
        frame."""

    @abstractmethod
    def get_socket(self) -> socket.socket:
        """The server's socket, or what has the same `fileno`, `family`, `type` and `proto`."""

    @abstractmethod
    def take_head(self) -> bytes:
        """The head that the server has made and not written. What follows, it writes by itself."""

    @abstractmethod
    def keep(self) -> None:
        """The response stays with the server after all: let it write the head."""

    @abstractmethod
    def drop(self) -> None:
        """Let the server close its descriptor and end the request, without a word to the client."""

    @abstractmethod
    def reset(self) -> None:
        """As `drop`, and let the connection end at once, whatever the client has not read."""


def can_be_detached(scope: Mapping[str, Any]) -> bool:
    """Whether the response to this request has a body in the form of HTTP/1."""
    return scope["http_version"] in ("1.0", "1.1") and scope["method"] != "HEAD"


async def detach(
    connection: ServerConnection, receive: Receive, send: Send, *, deadline: float
) -> SocketTransport | None:
    """The transport of a response whose head has been sent. None if the server has to keep it.

    What came before the head, and then the head, have `deadline` seconds each to leave this
    process. Raises `ConnectionError` if they do not, or if the client leaves meanwhile: then the
    connection is over.
    """
    await connection.finish_head(send)
    try:
        if not connection.has_flushed():
            async with asyncio.timeout(deadline):
                await connection.flush()
    except (TimeoutError, ConnectionError) as error:
        connection.reset()
        await wait_for_disconnect(receive)  # a server reports an application that returns before
        raise ConnectionAbortedError(NOT_TAKEN) from error
    transport = _transport(connection)
    if transport is None:
        connection.keep()
        return None
    try:
        head = connection.take_head()
        connection.drop()
        await wait_for_disconnect(receive)
        transport.begin(head, resets_at_drop=connection.resets_at_drop)
        if transport.busy:  # earlier responses fill the buffers of the kernel
            await _until_sent(transport, deadline)
    except BaseException:
        transport.abort()
        raise
    return transport


def _transport(connection: ServerConnection) -> SocketTransport | None:
    """All that may need a descriptor or memory, before the server drops its own; None if there is
    none left."""
    is_chunked = connection.is_chunked
    if is_chunked is None:
        return None
    try:
        its_poller = poller()
        ours = _duplicate(connection.get_socket())
        try:
            return SocketTransport(ours, its_poller, is_chunked=is_chunked)
        except BaseException:
            ours.close()
            raise
    except OSError as error:
        _report(error)
        return None


def _duplicate(theirs: socket.socket) -> socket.socket:
    descriptor = os.dup(theirs.fileno())
    ours = socket.socket(theirs.family, theirs.type, theirs.proto, fileno=descriptor)
    ours.setblocking(False)
    return ours


class _Sent(asyncio.Future[None]):
    """Done when a transport has sent what it was given. It is the callbacks of the transport."""

    def drained(self) -> None:
        if not self.done():
            self.set_result(None)

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        if not self.done():
            self.set_exception(ConnectionResetError(loss))


async def _until_sent(transport: SocketTransport, deadline: float) -> None:
    sent = transport.callbacks = _Sent()
    try:
        async with asyncio.timeout(deadline):
            await sent
    except TimeoutError as error:
        raise ConnectionAbortedError(NOT_TAKEN) from error
    finally:
        transport.callbacks = NOBODY


_reported_at: list[float] = []


def _report(error: OSError) -> None:
    """Log that a stream stays with its server, but not for each one: there may be thousands."""
    now = asyncio.get_running_loop().time()
    if not _reported_at or now - _reported_at[0] >= LOG_EVERY_SECONDS:
        _reported_at[:] = [now]
        logger.warning(
            "transport.kept",
            error=error,
            hint="The process has no descriptor left, so this stream stays with its server, and "
            "costs more. Raise the limit of open files (ulimit -n).",
        )
