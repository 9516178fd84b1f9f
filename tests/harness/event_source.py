"""The client of an event stream: one connection, and a browser's EventSource on top of it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import repeat
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from notifications.sse import Decoder, ServerSentEvent

DEADLINE_SECONDS = 60.0
RETRY_SECONDS = 3.0
"""A browser's own pause before it connects again, where the stream has sent no `retry`."""


class Stream:
    """One connection, read as raw asyncio bytes, so that a test can cut it after any byte.

    (`tests.harness.django_client.Stream` reads a response of Django's test client, which has
    neither a socket nor a byte count.) `bytes_read` counts the bytes of the body that were read.
    """

    _left_in_chunk = 0

    def __init__(
        self,
        port: int,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        receive_buffer: int | None = None,
        cut_after: int | None = None,
        deadline_seconds: float | None = DEADLINE_SECONDS,
    ) -> None:
        """`receive_buffer`: the bytes that the kernel buffers, otherwise up to dozens of MiB.

        `cut_after`: the bytes of the body after which the client drops the connection.
        `deadline_seconds` bounds each read; None waits for ever.
        """
        self._port = port
        self._path = path
        self._request_headers = headers or {}
        self._receive_buffer = receive_buffer
        self._cut_after = cut_after
        self._deadline_seconds = deadline_seconds
        self._decoder = Decoder()
        self._events: list[ServerSentEvent] = []
        self._tail = b"\n\n"
        self.status = 0
        self.headers: dict[str, str] = {}
        self.bytes_read = 0
        self.was_cut = False
        """The client dropped the connection, and not the server."""

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(DEADLINE_SECONDS):
            self._reader, self._writer = await asyncio.open_connection(sock=await self._socket())
            headers = {"Host": "localhost", "Accept": "text/event-stream", **self._request_headers}
            lines = [f"GET {self._path} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            self._writer.write("\r\n".join([*lines, "", ""]).encode())
            try:
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            except BaseException:
                self._writer.transport.abort()
                raise
        status_line, *fields = head.strip().split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (field.partition(":") for field in fields)
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)

    async def _socket(self) -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        if self._receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self._port))
        except BaseException:
            client.close()
            raise
        return client

    @property
    def local_port(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    def cut(self) -> None:
        """Drop the connection, wherever in the stream it is."""
        self.was_cut = True
        self._writer.transport.abort()

    @property
    def is_inside_block(self) -> bool:
        """Whether the bytes that were read end in the middle of a block."""
        return self._tail != b"\n\n"

    async def read(self, limit: int = 65536) -> bytes:
        """The next bytes of the stream, at most `limit`; none at its end."""
        if self._cut_after is not None:
            limit = min(limit, self._cut_after - self.bytes_read)
            if not limit:
                self.cut()
        if self.was_cut:
            return b""
        async with asyncio.timeout(self._deadline_seconds):
            try:
                piece = await self.read_or_raise(limit)
            except (ConnectionError, asyncio.IncompleteReadError):
                piece = b""
        self.bytes_read += len(piece)
        self._tail = (self._tail + piece)[-2:]
        return piece

    async def read_or_raise(self, limit: int = 65536) -> bytes:
        """The next bytes; none at the end of the response, an error where it is cut off earlier."""
        if self.headers.get("transfer-encoding") != "chunked":
            length = int(self.headers.get("content-length", limit + self.bytes_read))
            return await self._reader.read(min(limit, length - self.bytes_read))
        if not self._left_in_chunk:
            self._left_in_chunk = int((await self._reader.readuntil(b"\r\n")), 16)
            if not self._left_in_chunk:
                await self._reader.readexactly(2)
                return b""
        piece = await self._reader.read(min(limit, self._left_in_chunk))
        if not piece:
            raise asyncio.IncompleteReadError(piece, self._left_in_chunk)
        self._left_in_chunk -= len(piece)
        if not self._left_in_chunk:
            await self._reader.readexactly(2)
        return piece

    async def closed(self) -> bool:
        """Whether the server has closed the connection, and sent nothing more before."""
        return await self._reader.read() == b""

    async def next(self) -> ServerSentEvent:
        """The next event, signals included. Raises `EOFError` at the end of the stream."""
        while not self._events:
            piece = await self.read()
            if not piece:
                raise EOFError
            self._events += self._decoder.feed(piece)
        return self._events.pop(0)

    async def next_event(self) -> ServerSentEvent:
        """The next event that is not a keep-alive or the opening, within the deadline in all."""
        async with asyncio.timeout(self._deadline_seconds):
            while (event := await self.next()).type == "stream.cursor":
                pass
        return event

    async def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        while True:
            try:
                yield await self.next()
            except EOFError:
                return


def events_path(*topics: str, **parameters: str) -> str:
    """The URL path of a stream of these topics."""
    query = urlencode([("topic", topic) for topic in topics] + list(parameters.items()))
    return f"/events/?{query}"


def subscribe(port: int, *topics: str, cursor: str | None = None, **parameters: str) -> Stream:
    """A stream of these topics, from a cursor as a browser brings it back."""
    headers = {"Last-Event-ID": cursor} if cursor else {}
    return Stream(port, events_path(*topics, **parameters), headers=headers)


class EventSource:
    """A browser's EventSource (WHATWG HTML §9.2): it comes back with the last id that it received.

    Unlike a browser it also comes back after a status other than 200 (counted in `refusals`), and
    a test may cut its connection, stop its reading, or keep it away for a while.
    """

    def __init__(
        self,
        path: str,
        ports: Iterator[int],
        receive: Callable[[ServerSentEvent], object],
        *,
        retry_seconds: float | None = None,
        receive_buffer: int | None = None,
        cut_after: Iterator[int | None] | None = None,
        deadline_seconds: float | None = DEADLINE_SECONDS,
    ) -> None:
        """`ports` and `cut_after` have a value for each connection, one after the other.

        `retry_seconds` is the pause between two connections; without it the stream decides, as
        for a browser. `deadline_seconds` is how long a silent connection is kept; None: for ever.
        """
        self.last_event_id = ""
        self.connections = self.ends = self.refusals = self.ends_inside_block = 0
        self._path = path
        self._ports = ports
        self._receive = receive
        self._retry_seconds = RETRY_SECONDS if retry_seconds is None else retry_seconds
        self._follows_retry = retry_seconds is None
        self._receive_buffer = receive_buffer
        self._cut_after = repeat(None) if cut_after is None else cut_after
        self._deadline_seconds = deadline_seconds
        self._stream: Stream | None = None
        self._may_read = asyncio.Event()
        self._may_connect = asyncio.Event()
        self.resume_reading()
        self.come_back()

    async def run(self) -> None:
        """One connection after the other, for ever."""
        while True:
            await self._may_connect.wait()
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                await self.connect()
            self.ends += 1
            await asyncio.sleep(self._retry_seconds)

    async def connect(self) -> bool:
        """One connection, until its end; whether the client ended it, and not the server."""
        self.connections += 1
        async with Stream(
            next(self._ports),
            self._path,
            headers={"Last-Event-ID": self.last_event_id} if self.last_event_id else {},
            receive_buffer=self._receive_buffer,
            cut_after=next(self._cut_after),
            deadline_seconds=self._deadline_seconds,
        ) as stream:
            if stream.status != 200:
                self.refusals += 1
                return False
            self._stream = stream
            try:
                await self._read(stream)
            finally:
                self._stream = None
            self.ends_inside_block += stream.is_inside_block
            return stream.was_cut

    async def _read(self, stream: Stream) -> None:
        while True:
            await self._may_read.wait()
            try:
                event = await stream.next()
            except EOFError:
                return
            self.last_event_id = event.id or self.last_event_id
            if event.retry is not None and self._follows_retry:
                self._retry_seconds = event.retry / 1000
            self._receive(event)

    def cut(self) -> None:
        """Drop the connection, if there is one."""
        if self._stream is not None:
            self._stream.cut()

    def leave(self) -> None:
        """Drop the connection, and stay away until `come_back`."""
        self._may_connect.clear()
        self.cut()

    def come_back(self) -> None:
        self._may_connect.set()

    def stop_reading(self) -> None:
        """Keep the connection open, and read nothing of it until `resume_reading`."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()
