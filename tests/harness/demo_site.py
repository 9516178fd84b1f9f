"""The demo pages, with sources that continue only when the test allows it over a side channel."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any

from django.urls import include, path

from demo.chat import Chat
from demo.chunks import AsyncChunks, Chunks
from demo.slow_data import aslow_rows, slow_rows

CONTINUE, CLOSED = b".", b"closed"
ROWS = 4
ROW_PAUSE_SECONDS = 0.1


def _port() -> int:
    return int(os.environ["SIDE_CHANNEL"])


def rows() -> Generator[tuple[int]]:
    with socket.create_connection(("127.0.0.1", _port()), timeout=20) as channel:
        try:
            for number in range(ROWS):
                yield (number,)
                assert channel.recv(1) == CONTINUE
        finally:
            channel.sendall(CLOSED)
            channel.shutdown(socket.SHUT_WR)
            while channel.recv(100):  # unread bytes would turn the close into a TCP reset
                pass


async def async_rows() -> AsyncGenerator[tuple[int]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", _port())
    try:
        for number in range(ROWS):
            yield (number,)
            assert await reader.readexactly(1) == CONTINUE
    finally:
        writer.write(CLOSED)
        writer.close()


async def words(question: str) -> AsyncGenerator[str]:
    generator: Any = async_rows()
    try:
        async for (number,) in generator:
            yield f"[{question}{number}]"
    finally:
        await generator.aclose()


urlpatterns = [
    path("sync/", Chunks.as_view(source=rows)),
    path("async/", AsyncChunks.as_view(source=async_rows)),
    path("template/", Chat.as_view(source=words)),
    path("timed/sync/", Chunks.as_view(source=partial(slow_rows, ROW_PAUSE_SECONDS))),
    path("timed/async/", AsyncChunks.as_view(source=partial(aslow_rows, ROW_PAUSE_SECONDS))),
    path("", include("config.urls")),
]
