"""The example pages, from sources that go on only when somebody on another line says so."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any

from django.urls import include, path

from demo import bells
from demo.chat import Chat
from demo.chunks import AsyncChunks, Chunks

GO_ON, CLOSED = b".", b"closed"
ROWS = 4
PAUSE = 0.1


def _port() -> int:
    return int(os.environ["SIDE_CHANNEL"])


def rows() -> Generator[tuple[int]]:
    with socket.create_connection(("127.0.0.1", _port()), timeout=20) as channel:
        try:
            for number in range(ROWS):
                yield (number,)
                assert channel.recv(1) == GO_ON
        finally:
            channel.sendall(CLOSED)
            channel.shutdown(socket.SHUT_WR)
            while channel.recv(100):  # what is unread would make it a reset
                pass


async def arows() -> AsyncGenerator[tuple[int]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", _port())
    try:
        for number in range(ROWS):
            yield (number,)
            assert await reader.readexactly(1) == GO_ON
    finally:
        writer.write(CLOSED)
        writer.close()


async def words(question: str) -> AsyncGenerator[str]:
    generator: Any = arows()
    try:
        async for (number,) in generator:
            yield f"[{question}{number}]"
    finally:
        await generator.aclose()


urlpatterns = [
    path("sync/", Chunks.as_view(source=rows)),
    path("async/", AsyncChunks.as_view(source=arows)),
    path("template/", Chat.as_view(source=words)),
    path("timed/sync/", Chunks.as_view(source=partial(bells.ring, PAUSE))),
    path("timed/async/", AsyncChunks.as_view(source=partial(bells.aring, PAUSE))),
    path("", include("config.urls")),
]
