"""An ASGI application that is nothing but a wire, for a look at what each server makes of it."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from notifications.transport.base import Message, Payload, Receive, Send, Transport
from notifications.transport.select import select_transport

HEADERS = [(b"content-type", b"text/event-stream")]
PAUSE = 0.02

writers: list["Writer"] = []


class Writer:
    """Writes `count` parcels of `size` bytes as they are taken, and remembers what it is told."""

    def __init__(self, transport: Transport, *, count: int, size: int) -> None:
        self._transport = transport
        self._payloads = [Payload(bytes([65 + i % 26]) * size) for i in range(count)]
        self._writing = False
        self.ending: Callable[[], None] | None = None
        self.news: list[str] = []
        self.held = 0
        transport.owner = self

    def begin(self) -> None:
        direct = getattr(self._transport, "_connection", None) is not None
        self._write(Payload(f"{type(self._transport).__name__} {direct}\n".encode()))
        self.go_on()

    def go_on(self) -> None:
        while self._payloads and not self._transport.busy:
            self._write(self._payloads.pop(0))
        if self.ending is not None and not self._transport.busy:
            end, self.ending = self.ending, None
            end()
            self.held = max(self.held, _held(self._transport))

    def nag(self) -> None:
        """Write for ever, now and then."""
        if "lost" not in self.news:
            if not self._transport.busy:
                self._write(Payload(b"nag\n"))
            asyncio.get_running_loop().call_later(PAUSE, self.nag)

    def _write(self, payload: Payload) -> None:
        self._writing = True
        self._transport.write(payload)
        self._writing = False
        self.held = max(self.held, _held(self._transport))

    def drained(self) -> None:
        assert not self._writing, "told from within a write"
        self.news.append("drained")
        self.go_on()

    def lost(self) -> None:
        assert not self._writing, "told from within a write"
        self.news.append("lost")
        self._transport.abort()


def _narrow(transport: Any) -> None:
    """Have the kernel take little at once, so that less must be sent to be too much."""
    connection = getattr(transport, "_connection", None)
    if hasattr(transport, "_cycle"):
        connection = transport._cycle.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)


def _held(transport: Any) -> int:
    """What the server's transport has in its buffer for this client."""
    if hasattr(transport, "_cycle"):
        return int(transport._cycle.transport.get_write_buffer_size())
    if hasattr(transport, "_transport") and hasattr(transport._transport, "dataBuffer"):
        transport = transport._transport
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)
    return 0


async def application(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    asked = dict(parse_qsl(scope["query_string"].decode()))
    if scope["path"] == "/told":
        told = [{"news": writer.news, "held": writer.held} for writer in writers]
        await answer(send, json.dumps(told).encode())
        return
    if asked.get("wrapped"):
        send = wrapped(send)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    task = asyncio.current_task()
    assert task is not None
    transport = select_transport(send, give_up=task.cancel)
    writer = Writer(transport, count=int(asked.get("count", 0)), size=int(asked.get("size", 1)))
    writers.append(writer)
    _narrow(transport)
    if not asked.get("nag"):
        hang_up = bool(asked.get("hang_up"))
        writer.ending = lambda: transport.end(Payload(b"end\n"), hang_up=hang_up)
    writer.begin()
    if asked.get("nag"):
        writer.nag()
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        if "lost" not in writer.news:
            raise


def wrapped(send: Send) -> Send:
    async def around(message: Message) -> None:
        await send(message)

    return around


async def answer(send: Send, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
