"""An ASGI application that consists of nothing but a transport, to test it under each server.

`/stream` writes payloads; its query says how many and how. `/reports` answers what the transports
of all streams so far have reported.
"""

import asyncio
import json
import resource
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import wrapt

from notifications.transport.base import Loss, Message, Payload, Receive, Send, Transport
from notifications.transport.cancel import CancelScope
from notifications.transport.detach import ServerConnection, detach
from notifications.transport.select import select_transport, server_connection
from notifications.transport.socket import SocketTransport

STREAM_HEADERS = [(b"content-type", b"text/event-stream")]
REPEAT_SECONDS = 0.02
SEND_BUFFER_BYTES = 16_384
DEADLINE_SECONDS = 60.0

writers: list["Writer"] = []


class Writer:
    """Writes `count` payloads of `size` bytes, each as soon as the transport takes it.

    It records what the transport reports, and how much the server held for the client.
    """

    def __init__(self, transport: Transport, *, count: int, size: int) -> None:
        self._transport = transport
        self._payloads = [Payload(bytes([65 + i % 26]) * size) for i in range(count)]
        self._writing = False
        self.end: Callable[[], None] | None = None
        self.reports: list[str] = []
        self.buffered = 0
        transport.callbacks = self

    def report(self) -> dict[str, Any]:
        return {
            "reports": self.reports,
            "buffered": self.buffered,
            "linger": _linger(self._transport),
            "tasks": len(asyncio.all_tasks()),
        }

    def start(self) -> None:
        """Write which transport this is, and then the payloads."""
        self._write(Payload(f"{type(self._transport).__name__}\n".encode()))
        self._write_next()

    def repeat(self) -> None:
        """Write something again and again until the transport is lost."""
        if "lost" not in self.reports:
            if not self._transport.busy:
                self._write(Payload(b"again\n"))
            asyncio.get_running_loop().call_later(REPEAT_SECONDS, self.repeat)

    def _write_next(self) -> None:
        while self._payloads and not self._transport.busy:
            self._write(self._payloads.pop(0))
        if self.end is not None and not self._transport.busy:
            end, self.end = self.end, None
            end()
            self.buffered = max(self.buffered, _buffered(self._transport))

    def _write(self, payload: Payload) -> None:
        self._writing = True
        self._transport.write(payload)
        self._writing = False
        self.buffered = max(self.buffered, _buffered(self._transport))

    def drained(self) -> None:
        assert not self._writing, "reported from within a write"
        self.reports.append("drained")
        self._write_next()

    def lost(self, loss: Loss = Loss.FAILED) -> None:
        assert not self._writing, "reported from within a write"
        self.reports.append("lost")
        self._transport.abort()
        self._transport.release()


def _shrink_send_buffer(transport: Any) -> None:
    """Let the kernel hold little, so that a small stream fills its buffer."""
    if isinstance(transport, SocketTransport):
        with suppress(OSError):  # the client has left already
            transport._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _linger(transport: Any) -> list[int] | None:
    """SO_LINGER of the connection of a stream that has not ended."""
    if not isinstance(transport, SocketTransport) or transport._socket.fileno() < 0:
        return None
    option = transport._socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    return list(struct.unpack("ii", option))


def _buffered(transport: Any) -> int:
    """How many bytes our transport or the server's holds for this client."""
    if isinstance(transport, SocketTransport):
        return len(transport._unsent or b"")
    if hasattr(transport, "_transport") and hasattr(transport._transport, "dataBuffer"):
        twisted = transport._transport
        return int(len(twisted.dataBuffer) - twisted.offset + twisted._tempDataLen)
    return 0


async def application(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    params = dict(parse_qsl(scope["query_string"].decode()))
    if scope["path"] == "/reports":
        reports = [each.report() for each in writers]
        await send_json(send, json.dumps(reports).encode())
        return
    if params.get("wrapped"):
        send = proxied(send) if params["wrapped"] == "proxy" else wrapped(send)
    headers = STREAM_HEADERS
    connection = server_connection(send, scope)
    take_out = _detach_without_descriptors if params.get("no_descriptors") else detach
    if connection is not None:
        headers = [*headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if connection is not None:
        detached = await take_out(connection, receive, send, deadline=DEADLINE_SECONDS)
        if detached is not None:
            _start_writer(detached, params)
            return
    with CancelScope() as cancel_scope:
        transport = select_transport(send, cancel=cancel_scope.cancel)
        _start_writer(transport, params)
        while (await receive())["type"] != "http.disconnect":
            pass


async def _detach_without_descriptors(
    connection: ServerConnection, receive: Receive, send: Send, *, deadline: float
) -> SocketTransport | None:
    """`detach` in a process that has reached its limit of descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        return await detach(connection, receive, send, deadline=deadline)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _start_writer(transport: Transport, params: dict[str, str]) -> None:
    writer = Writer(transport, count=int(params.get("count", 0)), size=int(params.get("size", 1)))
    writers.append(writer)
    _shrink_send_buffer(transport)
    if not params.get("repeat"):
        break_off = bool(params.get("break_off"))
        writer.end = lambda: transport.end(Payload(b"end\n"), break_off=break_off)
    writer.start()
    if params.get("repeat"):
        writer.repeat()


def wrapped(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        await send(message)

    return wrapper


def proxied(send: Send) -> Send:
    """A proxy as APM agents make them: it has all attributes of the function, and its class."""

    def call(inner: Send, _: object, arguments: Any, options: Any) -> Any:
        return inner(*arguments, **options)

    proxy: Send = wrapt.FunctionWrapper(send, call)
    return proxy


async def send_json(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
