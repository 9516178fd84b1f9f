"""The connections of uvicorn, on asyncio's event loop or uvloop, with h11 or httptools.

uvicorn's `send` is a method of its `RequestResponseCycle`. The cycle holds the asyncio transport
and a `FlowControl`, which asyncio pauses when the transport's buffer exceeds its high-water mark.
With a high-water mark of 0, the flow is paused exactly while the buffer is not empty.

The cycle's attributes are undocumented: `docs/extend.md` lists those that are used here.
"""

import socket
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Send, Transport
from notifications.transport.detach import ServerConnection
from notifications.transport.tcp import limit_unacknowledged, reset_at_close

CYCLE_MODULES = {"uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl"}
PLAIN_TRANSPORTS = {
    ("asyncio.selector_events", "_SelectorSocketTransport"),
    ("uvloop.loop", "TCPTransport"),
    ("uvloop.loop", "UnixTransport"),
}
"""Those that put what is written onto the socket as it is. One with TLS is of another type."""


def uvicorn_connection(server_send: Send) -> ServerConnection | None:
    """The connection, if `server_send` is uvicorn's own and the connection is not encrypted."""
    cycle = _cycle(server_send)
    kind = type(cycle.transport) if cycle is not None else None
    if kind is None or (kind.__module__, kind.__name__) not in PLAIN_TRANSPORTS:
        return None
    return UvicornConnection(cycle)


def uvicorn_transport(
    server_send: Send, *, send: Send, cancel: Callable[[], object]
) -> Transport | None:
    """A transport for a response that stays with uvicorn, if `server_send` is uvicorn's own."""
    cycle = _cycle(server_send)
    if cycle is None:
        return None
    return UvicornTransport(send, cancel=cancel, transport=cycle.transport)


def is_connection_closed(send: Send) -> bool:
    """Whether `send` belongs to a cycle, as uvicorn's does, and its connection is closed."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport is not None and bool(transport.is_closing())


def _cycle(send: Send) -> Any | None:
    # A proxy around the method has the attributes of the method, and another type.
    if type(send) is not MethodType:
        return None
    cycle: Any = send.__self__
    function = send.__func__
    if type(cycle).__module__ not in CYCLE_MODULES or type(function) is not FunctionType:
        return None
    # A function that somebody put in place of uvicorn's own method may do more than send.
    return cycle if function.__globals__["__name__"] == type(cycle).__module__ else None


class UvicornConnection(ServerConnection):
    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._is_http_1_0 = cycle.scope["http_version"] == "1.0"
        # All that `detach` will need is there, or this fails before the head is sent.
        _ = cycle.response_complete, cycle.disconnected, cycle.flow.write_paused, cycle.flow.drain
        if hasattr(cycle, "conn"):
            _ = cycle.conn._writer  # noqa: SLF001
        else:
            _ = cycle.chunked_encoding, cycle.expected_content_length

    def prepare(self) -> None:
        # With httptools, uvicorn would send chunks to a client of HTTP/1.0, which must not get any
        # (RFC 9112 §6.1). So uvicorn is told that the response has another framing.
        if self._is_http_1_0 and not hasattr(self._cycle, "conn"):
            self._cycle.chunked_encoding = False
            self._cycle.expected_content_length = AnyLength()
        # uvloop writes at once what would fill a buffer, and the rest at the end of its iteration.
        self._cycle.transport.set_write_buffer_limits(high=0)

    @property
    def is_behind(self) -> bool:
        return bool(self._cycle.flow.write_paused)

    def has_flushed(self) -> bool:
        if self._cycle.flow.write_paused:
            return False
        self._finish_flush()
        return True

    async def flush(self, send: Send) -> None:
        await self._cycle.flow.drain()
        self._finish_flush()

    def _finish_flush(self) -> None:
        cycle = self._cycle
        if cycle.disconnected or cycle.transport.is_closing():
            raise ConnectionResetError  # uvloop lets nobody set limits any more
        cycle.transport.set_write_buffer_limits()

    @property
    def is_chunked(self) -> bool | None:
        cycle = self._cycle
        if cycle.response_complete or not cycle.response_started:
            return None
        if hasattr(cycle, "conn"):
            # h11 tells no caller how it frames a body: only the type of its writer shows it.
            writer = cycle.conn._writer  # noqa: SLF001
            return {"ChunkedWriter": True, "Http10Writer": False}.get(type(writer).__name__)
        return None if bool(cycle.chunked_encoding) is self._is_http_1_0 else not self._is_http_1_0

    def get_socket(self) -> socket.socket:
        found: socket.socket = self._cycle.transport.get_extra_info("socket")
        return found

    def drop(self) -> None:
        protocol = self._cycle.transport.get_protocol()
        # With httptools the protocol's cycle is that of the last request that the client has
        # pipelined. uvicorn would tell that one of the end, and ours never.
        protocol.cycle = self._cycle
        if hasattr(protocol, "pipeline"):
            protocol.pipeline.clear()
        self._cycle.transport.abort()

    def reset(self) -> None:
        cycle = self._cycle
        # After the end of a connection, uvloop's socket has a number that may be another's.
        if not cycle.transport.is_closing():
            reset_at_close(self.get_socket(), enabled=True)
        # Of requests that are pipelined, uvicorn tells only the last one.
        cycle.disconnected = True
        cycle.transport.abort()


class AnyLength(int):
    """The length of a body that ends with its connection, if it stays with uvicorn after all.

    uvicorn subtracts what it sends, refuses what exceeds the rest, and expects 0 at the end.
    """

    def __sub__(self, sent: int) -> "AnyLength":
        return self

    def __lt__(self, size: int) -> bool:
        return False

    def __ne__(self, size: object) -> bool:
        return False

    def __eq__(self, size: object) -> bool:
        return True

    __hash__ = int.__hash__


class UvicornTransport(AsgiTransport):
    """For a response that must go through `send`, such as one over TLS.

    `abort` can close its connection. uvicorn itself closes a connection only when all bytes are
    sent, which never happens for a client that stalls.
    """

    __slots__ = ("_transport",)

    def __init__(self, send: Send, *, cancel: Callable[[], object], transport: Any) -> None:
        super().__init__(send, cancel=cancel)
        self._transport = transport

    def abort(self) -> None:
        self._transport.abort()
        super().abort()

    def limit_unacknowledged(self, seconds: float) -> None:
        limit_unacknowledged(self._transport.get_extra_info("socket"), seconds)

    def _close_connection(self) -> None:
        self._transport.close()
