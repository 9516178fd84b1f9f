"""Takes the socket of a stream out of the server, once the head of the response has left it.

    head ──▶ the server's buffer is empty ──▶ the descriptor is duplicated
         ──▶ the server drops its own, while the connection lives on in ours
         ──▶ `receive` reports a disconnect ──▶ the application's call returns

Meanwhile nothing else is written: the stream joins the hub only when its transport is ready. Since
this connection can serve no other request, the head says `Connection: close` (RFC 9112 §9.6), or a
proxy would put somebody's next request on it. So it is decided before the head is sent.
"""

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from notifications.telemetry.logs import logger
from notifications.transport.base import Receive, Send, wait_for_disconnect
from notifications.transport.poller import Poller
from notifications.transport.pollers import poller
from notifications.transport.socket import SocketTransport
from notifications.transport.tcp import limit_unsent

LOG_EVERY_SECONDS = 10.0


class ServerConnection(ABC):
    """The connection of one request inside of a server, as far as a stream can be taken out of it.

    It exists only for plain HTTP/1 over a stream socket, and for a `send` that nobody has wrapped
    or whose wrappers do not look at bodies.
    """

    @abstractmethod
    def prepare(self) -> None:
        """The head is about to be sent, and says `Connection: close`."""

    @property
    def is_behind(self) -> bool:
        """Whether sending the head waits until the client has taken an earlier response."""
        return False

    def has_flushed(self) -> bool:
        """Whether there is nothing to wait for, so that `flush` need not be called.

        Raises as `flush`.
        """
        return False

    @abstractmethod
    async def flush(self, send: Send) -> None:
        """Return once the server has written the head to the socket, and holds nothing more.

        Raises `ConnectionError` if the client has left.
        """

    @property
    @abstractmethod
    def is_chunked(self) -> bool | None:
        """Whether the head announced chunked transfer coding; None if the body is not ours to
        frame."""

    @abstractmethod
    def get_socket(self) -> socket.socket:
        """The server's socket, or what has the same `fileno`, `family`, `type` and `proto`."""

    @abstractmethod
    def drop(self) -> None:
        """Let the server close its descriptor and end the request, without a word to the client."""

    def restore(self, ours: socket.socket) -> None:  # noqa: B027 - most servers set nothing
        """Undo what the server has set, when it closed its own, in the socket that both share."""

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

    The head has `deadline` seconds to leave the server. Raises `ConnectionError` if it does not, or
    if the client leaves meanwhile: then the connection is over.
    """
    try:
        if not connection.has_flushed():
            async with asyncio.timeout(deadline):
                await connection.flush(send)
    except (TimeoutError, ConnectionError) as error:
        connection.reset()
        await wait_for_disconnect(receive)  # a server reports an application that returns before
        raise ConnectionAbortedError("The client has not taken the head.") from error
    is_chunked = connection.is_chunked
    if is_chunked is None:
        return None
    try:
        # Everything that may need a descriptor or memory comes before the server drops its own.
        its_poller = poller()
        ours = _duplicate(connection.get_socket())
        transport = _transport(ours, its_poller, is_chunked=is_chunked)
    except OSError as error:
        _report(error)
        return None
    try:
        connection.drop()
        await wait_for_disconnect(receive)
    except BaseException:
        transport.abort()
        raise
    connection.restore(ours)
    limit_unsent(ours)
    return transport


def _duplicate(theirs: socket.socket) -> socket.socket:
    descriptor = os.dup(theirs.fileno())
    ours = socket.socket(theirs.family, theirs.type, theirs.proto, fileno=descriptor)
    ours.setblocking(False)
    return ours


def _transport(ours: socket.socket, its_poller: Poller, *, is_chunked: bool) -> SocketTransport:
    try:
        return SocketTransport(ours, its_poller, is_chunked=is_chunked)
    except BaseException:
        ours.close()
        raise


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
