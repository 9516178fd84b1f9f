"""Wires for uvicorn, on asyncio's loop and on uvloop, with h11 and with httptools.

Its `send` is a method of the request's cycle, which holds the transport, and a `FlowControl` that
the transport tells when its buffer is too full. With a limit of nothing, that is when it is not
empty.
"""

import asyncio
import socket
from asyncio import selector_events
from collections.abc import Callable
from typing import Any

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Payload, Send, Transport
from notifications.transport.direct import DirectTransport
from notifications.transport.tcp import hold_little, unanswered

MODULES = {"uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl"}


class UvicornTransport(AsgiTransport):
    """For what must go through `send`, such as TLS: it can still be cut off.

    uvicorn itself closes a connection when all has gone out: never, for a client that stalls.
    """

    __slots__ = ("_transport",)

    def __init__(self, send: Send, *, give_up: Callable[[], object], transport: Any) -> None:
        super().__init__(send, give_up=give_up)
        self._transport = transport

    def abort(self) -> None:
        self._transport.abort()
        super().abort()

    def unanswered(self, seconds: float) -> bool:
        return unanswered(self._transport.get_extra_info("socket"), seconds)


class DirectUvicornTransport(DirectTransport):
    """Without a `connection` it writes to the transport: uvloop's is as good as a socket."""

    __slots__ = ("_cycle",)

    def __init__(
        self,
        send: Send,
        *,
        give_up: Callable[[], object],
        cycle: Any,
        connection: socket.socket | None,
        coded: bool,
    ) -> None:
        super().__init__(send, give_up=give_up, connection=connection)
        self._cycle = cycle
        if connection is None:
            hold_little(cycle.transport.get_extra_info("socket"))
        self._coded = coded
        self._ready = connection is not None

    def unanswered(self, seconds: float) -> bool:
        return unanswered(self._cycle.transport.get_extra_info("socket"), seconds)

    def _write_otherwise(self, payload: Payload) -> None:
        self._hold(payload.coded if self._coded else payload.raw)

    def _hold(self, rest: bytes | memoryview) -> None:
        cycle = self._cycle
        try:
            cycle.transport.write(rest)
        except (OSError, RuntimeError):  # uvloop's is closed
            self._break()
            return
        if cycle.flow.write_paused:
            self._work(cycle.flow.drain())

    def _finish(self) -> None:
        transport = self._cycle.transport
        if not transport.is_closing():
            transport.set_write_buffer_limits()
        if self._hang_up:
            self._cycle.keep_alive = False
        self._put(b"", more_body=False)

    def abort(self) -> None:
        self._cycle.transport.abort()
        super().abort()


def uvicorn_transport(send: Send, *, give_up: Callable[[], object]) -> Transport | None:
    """None if this is not uvicorn's own `send`, after the headers of a response."""
    cycle: Any = getattr(send, "__self__", None)
    code = getattr(send, "__func__", None)
    if type(cycle).__module__ not in MODULES or code is None:
        return None
    # A method that somebody put in place of uvicorn's own may do more than send.
    if code.__globals__["__name__"] != type(cycle).__module__ or not cycle.response_started:
        return None
    transport = cycle.transport
    coded = _coding(cycle)
    if coded is not None and transport.get_extra_info("sslcontext") is None:
        transport.set_write_buffer_limits(high=0)
        if not cycle.flow.write_paused:
            return DirectUvicornTransport(
                send, give_up=give_up, cycle=cycle, connection=_socket(transport), coded=coded
            )
        transport.set_write_buffer_limits()  # the headers are not even out
    return UvicornTransport(send, give_up=give_up, transport=transport)


def _coding(cycle: Any) -> bool | None:
    """Whether the response has begun in chunked coding. None: it is none to write to."""
    if cycle.response_complete or cycle.scope["method"] == "HEAD":
        return None
    if hasattr(cycle, "conn"):  # h11
        writer = getattr(cycle.conn, "_writer", None)
        return {"ChunkedWriter": True, "Http10Writer": False}.get(type(writer).__name__)
    # Not coded, it has a length, which is httptools' to count.
    return True if cycle.chunked_encoding is True else None


def _socket(transport: asyncio.Transport) -> socket.socket | None:
    """What asyncio's own transport writes to. uvloop's is as fast by itself."""
    if type(transport) is getattr(selector_events, "_SelectorSocketTransport", None):
        connection = getattr(transport, "_sock", None)
        if isinstance(connection, socket.socket):
            return connection
    return None
