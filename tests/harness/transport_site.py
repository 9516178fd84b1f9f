"""An ASGI application that consists of nothing but a transport, to test it under each server.

`/stream` writes payloads; its query says how many and how. `/reports` answers what the transports
of all streams so far have reported.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from notifications.transport.base import Message, Payload, Receive, Send, Transport
from notifications.transport.select import select_transport

STREAM_HEADERS = [(b"content-type", b"text/event-stream")]
REPEAT_SECONDS = 0.02
SEND_BUFFER_BYTES = 16_384

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

    def start(self) -> None:
        """Write which transport this is and whether it has a socket, and then the payloads."""
        direct = getattr(self._transport, "_connection", None) is not None
        self._write(Payload(f"{type(self._transport).__name__} {direct}\n".encode()))
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

    def lost(self) -> None:
        assert not self._writing, "reported from within a write"
        self.reports.append("lost")
        self._transport.abort()


def _shrink_send_buffer(transport: Any) -> None:
    """Let the kernel hold little, so that a small stream fills its buffer."""
    connection = getattr(transport, "_connection", None)
    if hasattr(transport, "_cycle"):
        connection = transport._cycle.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _buffered(transport: Any) -> int:
    """How many bytes the server's transport holds for this client."""
    if hasattr(transport, "_cycle"):
        return int(transport._cycle.transport.get_write_buffer_size())
    if hasattr(transport, "_transport") and hasattr(transport._transport, "dataBuffer"):
        twisted = transport._transport
        return int(len(twisted.dataBuffer) - twisted.offset + twisted._tempDataLen)
    return 0


async def application(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    params = dict(parse_qsl(scope["query_string"].decode()))
    if scope["path"] == "/reports":
        reports = [{"reports": each.reports, "buffered": each.buffered} for each in writers]
        await send_json(send, json.dumps(reports).encode())
        return
    if params.get("wrapped"):
        send = wrapped(send)
    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
    task = asyncio.current_task()
    assert task is not None
    transport = select_transport(send, cancel=task.cancel)
    writer = Writer(transport, count=int(params.get("count", 0)), size=int(params.get("size", 1)))
    writers.append(writer)
    _shrink_send_buffer(transport)
    if not params.get("repeat"):
        hang_up = bool(params.get("hang_up"))
        writer.end = lambda: transport.end(Payload(b"end\n"), hang_up=hang_up)
    writer.start()
    if params.get("repeat"):
        writer.repeat()
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        if "lost" not in writer.reports:
            raise


def wrapped(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        await send(message)

    return wrapper


async def send_json(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
