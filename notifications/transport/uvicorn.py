"""Transports for uvicorn, on asyncio's event loop or uvloop, with h11 or httptools.

uvicorn's `send` is a method of its `RequestResponseCycle`. The cycle holds the asyncio transport
and a `FlowControl`, which asyncio pauses when the transport's buffer exceeds its high-water mark.
With a high-water mark of 0, the flow is paused exactly while the buffer is not empty.

The cycle's attributes are undocumented: `docs/extend.md` lists those that are used here.
"""

import asyncio
import socket
from asyncio import selector_events
from collections.abc import Callable
from typing import Any

from notifications.transport.asgi import AsgiTransport
from notifications.transport.base import Payload, Send, Transport
from notifications.transport.direct import DirectTransport
from notifications.transport.tcp import is_unresponsive, limit_unsent

CYCLE_MODULES = {"uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl"}


def uvicorn_transport(send: Send, *, cancel: Callable[[], object]) -> Transport | None:
    """A transport for this response. None if `send` is not uvicorn's, or has sent no headers."""
    cycle: Any = getattr(send, "__self__", None)
    function = getattr(send, "__func__", None)
    if type(cycle).__module__ not in CYCLE_MODULES or function is None:
        return None
    # A function that somebody put in place of uvicorn's own method may do more than send.
    if function.__globals__["__name__"] != type(cycle).__module__ or not cycle.response_started:
        return None
    transport = cycle.transport
    coded = _is_coded(cycle)
    if coded is not None and transport.get_extra_info("sslcontext") is None:
        transport.set_write_buffer_limits(high=0)
        if not cycle.flow.write_paused:
            return DirectUvicornTransport(
                send, cancel=cancel, cycle=cycle, connection=_socket(transport), coded=coded
            )
        transport.set_write_buffer_limits()  # not even the headers are sent yet
    return UvicornTransport(send, cancel=cancel, transport=transport)


def is_connection_closed(send: Send) -> bool:
    """Whether `send` belongs to a cycle, as uvicorn's does, and its connection is closed."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport is not None and bool(transport.is_closing())


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

    def is_unresponsive(self, seconds: float) -> bool:
        return is_unresponsive(self._transport.get_extra_info("socket"), seconds)


class DirectUvicornTransport(DirectTransport):
    """Without a `connection` it writes to uvicorn's transport: uvloop's is as fast as a socket."""

    __slots__ = ("_cycle",)

    def __init__(
        self,
        send: Send,
        *,
        cancel: Callable[[], object],
        cycle: Any,
        connection: socket.socket | None,
        coded: bool,
    ) -> None:
        super().__init__(send, cancel=cancel, connection=connection)
        self._cycle = cycle
        if connection is None:
            limit_unsent(cycle.transport.get_extra_info("socket"))
        self._coded = coded
        self._ready = connection is not None

    def is_unresponsive(self, seconds: float) -> bool:
        return is_unresponsive(self._cycle.transport.get_extra_info("socket"), seconds)

    def _write_through_server(self, payload: Payload) -> None:
        self._buffer(payload.coded if self._coded else payload.raw)

    def _buffer(self, unsent: bytes | memoryview) -> None:
        cycle = self._cycle
        try:
            cycle.transport.write(unsent)
        except (OSError, RuntimeError):  # uvloop raises RuntimeError on a closed transport
            self._fail()
            return
        if cycle.flow.write_paused:
            self._run(cycle.flow.drain())

    def _end_response(self) -> None:
        transport = self._cycle.transport
        if not transport.is_closing():
            transport.set_write_buffer_limits()
        if self._hang_up:
            self._cycle.keep_alive = False
        self._send_body(b"", more_body=False)

    def abort(self) -> None:
        self._cycle.transport.abort()
        super().abort()


def _is_coded(cycle: Any) -> bool | None:
    """Whether the response has chunked transfer coding. None if we cannot write its body."""
    if cycle.response_complete or cycle.scope["method"] == "HEAD":
        return None
    if hasattr(cycle, "conn"):  # h11
        # h11 tells no caller how it frames a body: only the type of its private writer shows it.
        writer = getattr(cycle.conn, "_writer", None)
        return {"ChunkedWriter": True, "Http10Writer": False}.get(type(writer).__name__)
    # With httptools a body without chunked coding has a length, which uvicorn itself counts.
    return True if cycle.chunked_encoding is True else None


def _socket(transport: asyncio.Transport) -> socket.socket | None:
    """The socket of asyncio's own transport; None for uvloop, whose transport is as fast itself.

    `get_extra_info("socket")` gives a `TransportSocket`, which has no `send`, so that the socket
    has to be taken from the private attribute.
    """
    if type(transport) is getattr(selector_events, "_SelectorSocketTransport", None):
        connection = getattr(transport, "_sock", None)
        if isinstance(connection, socket.socket):
            return connection
    return None
