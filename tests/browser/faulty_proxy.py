"""A proxy that fails on demand, as the proxies between a browser and a service do."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from typing import Self

from tests.harness.changes import Changes

DEADLINE_SECONDS = 60.0
EVENT_STREAM = b"content-type: text/event-stream"
UNAVAILABLE = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n"


class FaultyProxy:
    """Passes bytes on to a port of this machine, until a test cuts them off."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._passed = bytearray()
        self._changes = Changes()
        self.refusals = 0
        """So many of the next requests for a stream are answered with 503."""
        self.retry_after = ""
        """The header `Retry-After` of these answers."""
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        proxy = cls(port)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            await server.wait_closed()

    def cut(self, *, refusals: int = 0, retry_after: str = "") -> None:
        """End all connections at once; answer the next so many requests for a stream with 503."""
        self.refusals, self.retry_after = refusals, retry_after
        for writer in self._writers:
            writer.transport.abort()

    async def until_passed(self, text: str, *, times: int = 1) -> None:
        """Wait until browsers have been sent this text so often.

        A page has read it when it is sent the next one: a cut takes back what it has not read.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._changes.until(lambda: self._passed.count(text.encode()) >= times)

    def fall_silent(self) -> None:
        """All streams stay open, and nothing more comes. Later connections are as usual.

        The other connections end: the next request for a stream would take one that is idle, and
        whether it does is up to the browser.
        """
        self._silent |= self._streams
        for writer in self._clients - self._streams:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._client(writer), suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            if not await self._refuse(head, writer):
                await self._pass_on(head, reader, writer)

    async def _refuse(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer with 503 if this request is to be refused. Returns whether it was."""
        if not self.refusals or not head.startswith(b"GET /events/"):
            return False
        self.refusals -= 1
        retry_after = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
        writer.write(f"{UNAVAILABLE}{retry_after}\r\n".encode())
        await writer.drain()
        return True

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
        with self._cuttable(to_upstream):
            to_upstream.write(head)
            await asyncio.gather(
                self._pump_requests(reader, to_upstream, writer),
                self._pump(from_upstream, writer),
                return_exceptions=True,
            )

    async def _pump_requests(
        self,
        reader: asyncio.StreamReader,
        to_upstream: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
    ) -> None:
        """Pass on what the client sends, unless it is another request that is to be refused."""
        with closing(to_upstream):
            while piece := await reader.read(64 * 1024):
                if await self._refuse(piece, to_client):
                    return
                to_upstream.write(piece)
                await to_upstream.drain()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while piece := await reader.read(64 * 1024):
                if EVENT_STREAM in piece.lower():
                    self._streams.add(writer)
                if writer not in self._silent:
                    writer.write(piece)
                    self._passed += piece
                    self._changes.notify()
                    await writer.drain()

    @contextmanager
    def _cuttable(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            with closing(writer):
                yield
        finally:
            self._writers.remove(writer)

    @contextmanager
    def _client(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._clients.add(writer)
        try:
            with self._cuttable(writer):
                yield
        finally:
            for writers in (self._clients, self._streams, self._silent):
                writers.discard(writer)
