"""The referee reads what servers may send."""

import asyncio
import shutil
from pathlib import Path

import pytest

from benchmarks.peers import Peer
from benchmarks.referee import Referee, compiled

EVENTS = 5


class SplitAnswers:
    """A server that sends the body of each answer together with the head of the next one."""

    def __init__(self) -> None:
        self._streams: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rest = b""
        try:
            while True:
                method, body = await self._read(reader)
                if method == b"GET":
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    self._streams.append(writer)
                    continue
                for stream in self._streams:
                    stream.write(b"data: " + body + b"\n\n")
                writer.write(rest + b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n")
                rest = b"{}"
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return head.partition(b" ")[0], await reader.readexactly(int(length or 0))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
async def test_an_answer_may_come_in_parts(tmp_path: Path) -> None:
    server = await asyncio.start_server(SplitAnswers().serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        referee = Referee(compiled(tmp_path), lost_after=5)
        peer = Peer(port, 1, "/events/", "/publish/")
        delivered = await asyncio.to_thread(
            referee.deliver, peer, streams=1, events=EVENTS, rate=0, settle=0
        )
    assert delivered.got == EVENTS
