"""A proxy that fails on demand, as the proxies between a browser and a service do."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from typing import Self

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyProxy:
    """Passes bytes on to a port of this machine, until a test cuts them off."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusals = 0
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

    def cut(self, *, refusals: int = 0) -> None:
        """End all connections at once; answer the next so many requests for a stream with 503."""
        self._refusals = refusals
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._cuttable(writer), suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self._refusals and head.startswith(b"GET /events/"):
                self._refusals -= 1
                writer.write(UNAVAILABLE)
                await writer.drain()
            else:
                await self._pass_on(head, reader, writer)

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        with self._cuttable(to_upstream):
            to_upstream.write(head)
            await asyncio.gather(
                _pump(reader, to_upstream), _pump(from_upstream, writer), return_exceptions=True
            )

    @contextmanager
    def _cuttable(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            with closing(writer):
                yield
        finally:
            self._writers.remove(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
