"""A subscriber that does what a browser's EventSource does, and what a bad network does to it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from notifications.sse import Decoder, ServerSentEvent

DEADLINE = 20.0
SIGNALS = "stream."


class Stream:
    """One connection. Reads are bounded by `DEADLINE`; `bytes_read` counts what was read.

    `room` is how many bytes the kernel takes for it, which otherwise may be dozens of MiB.
    """

    def __init__(
        self,
        port: int,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        room: int | None = None,
    ) -> None:
        self._port = port
        self._room = room
        self._path = path
        self._sent = headers or {}
        self._decoder = Decoder()
        self._ready: list[ServerSentEvent] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.bytes_read = 0

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(DEADLINE):
            self._reader, self._writer = await asyncio.open_connection(sock=await self._socket())
            lines = [f"GET {self._path} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
            lines += [f"{name}: {value}" for name, value in self._sent.items()]
            self._writer.write("\r\n".join([*lines, "", ""]).encode())
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()
        await asyncio.sleep(0)

    async def _socket(self) -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        if self._room is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._room)
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self._port))
        except BaseException:
            client.close()
            raise
        return client

    def cut(self) -> None:
        """Drop the connection where it is."""
        self._writer.transport.abort()

    async def read(self, limit: int = 65536) -> bytes:
        """The next bytes of the stream, at most `limit`; none at its end."""
        async with asyncio.timeout(DEADLINE):
            try:
                piece = await self._piece(limit)
            except (ConnectionError, asyncio.IncompleteReadError):
                piece = b""
        self.bytes_read += len(piece)
        return piece

    _left = 0

    async def _piece(self, limit: int) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            length = int(self.headers.get("content-length", limit + self.bytes_read))
            return await self._reader.read(min(limit, length - self.bytes_read))
        if not self._left:
            self._left = int((await self._reader.readuntil(b"\r\n")), 16)
            if not self._left:
                await self._reader.readexactly(2)
                return b""
        piece = await self._reader.read(min(limit, self._left))
        if not piece:
            raise asyncio.IncompleteReadError(piece, self._left)
        self._left -= len(piece)
        if not self._left:
            await self._reader.readexactly(2)
        return piece

    async def next(self) -> ServerSentEvent:
        """The next event, signals included. Raises `EOFError` at the end of the stream."""
        while not self._ready:
            piece = await self.read()
            if not piece:
                raise EOFError
            self._ready += self._decoder.feed(piece)
        return self._ready.pop(0)

    async def next_event(self) -> ServerSentEvent:
        """The next event that is not a keep-alive or the opening, within `DEADLINE` in all."""
        async with asyncio.timeout(DEADLINE):
            while (event := await self.next()).type == "stream.cursor":
                pass
        return event

    async def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        while True:
            try:
                yield await self.next()
            except EOFError:
                return


def subscribe(port: int, *topics: str, cursor: str | None = None, **parameters: str) -> Stream:
    """A stream of these topics, from a cursor as a browser brings it back."""
    query = urlencode([("topic", topic) for topic in topics] + list(parameters.items()))
    headers = {"Last-Event-ID": cursor} if cursor else {}
    return Stream(port, f"/events/?{query}", headers=headers)
