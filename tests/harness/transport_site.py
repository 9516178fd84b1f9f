"""An ASGI application that is nothing but a wire, for a look at what each server makes of it."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from notifications.transport.base import Message, Parcel, Receive, Send, Wire
from notifications.transport.select import wire_for

HEADERS = [(b"content-type", b"text/event-stream")]
PAUSE = 0.02

writers: list["Writer"] = []


class Writer:
    """Writes `count` parcels of `size` bytes as they are taken, and remembers what it is told."""

    def __init__(self, wire: Wire, *, count: int, size: int) -> None:
        self._wire = wire
        self._parcels = [Parcel(bytes([65 + i % 26]) * size) for i in range(count)]
        self._writing = False
        self.ending: Callable[[], None] | None = None
        self.news: list[str] = []
        self.held = 0
        wire.owner = self

    def begin(self) -> None:
        direct = getattr(self._wire, "_connection", None) is not None
        self._write(Parcel(f"{type(self._wire).__name__} {direct}\n".encode()))
        self.go_on()

    def go_on(self) -> None:
        while self._parcels and not self._wire.busy:
            self._write(self._parcels.pop(0))
        if self.ending is not None and not self._wire.busy:
            end, self.ending = self.ending, None
            end()
            self.held = max(self.held, _held(self._wire))

    def nag(self) -> None:
        """Write for ever, now and then."""
        if "lost" not in self.news:
            if not self._wire.busy:
                self._write(Parcel(b"nag\n"))
            asyncio.get_running_loop().call_later(PAUSE, self.nag)

    def _write(self, parcel: Parcel) -> None:
        self._writing = True
        self._wire.write(parcel)
        self._writing = False
        self.held = max(self.held, _held(self._wire))

    def drained(self) -> None:
        assert not self._writing, "told from within a write"
        self.news.append("drained")
        self.go_on()

    def lost(self) -> None:
        assert not self._writing, "told from within a write"
        self.news.append("lost")
        self._wire.abort()


def _narrow(wire: Any) -> None:
    """Have the kernel take little at once, so that less must be sent to be too much."""
    connection = getattr(wire, "_connection", None)
    if hasattr(wire, "_cycle"):
        connection = wire._cycle.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)


def _held(wire: Any) -> int:
    """What the server's transport has in its buffer for this client."""
    if hasattr(wire, "_cycle"):
        return int(wire._cycle.transport.get_write_buffer_size())
    if hasattr(wire, "_transport") and hasattr(wire._transport, "dataBuffer"):
        transport = wire._transport
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
    wire = wire_for(send, give_up=task.cancel)
    writer = Writer(wire, count=int(asked.get("count", 0)), size=int(asked.get("size", 1)))
    writers.append(writer)
    _narrow(wire)
    if not asked.get("nag"):
        hang_up = bool(asked.get("hang_up"))
        writer.ending = lambda: wire.end(Parcel(b"end\n"), hang_up=hang_up)
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
