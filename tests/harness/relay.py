"""A TCP relay in front of Redis that does to connections what networks and failovers do."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 256 * 1024
LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends a reset
DEADLINE_SECONDS = 60.0


@dataclass(eq=False)
class _Pair:
    """One connection through the relay."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    marked: bool = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET
                )
            writer.transport.abort()


@dataclass
class Relay:
    """Its attributes may be set from any thread, and apply to the bytes that pass from then on."""

    target: int
    """The port that new connections lead to."""
    port: int = 0
    latency: float = 0.0
    """Seconds by which each piece is late, in each direction."""
    cuts: bytes = b""
    """The answer to a request with these bytes in it is cut: half of it arrives, then a reset."""
    most: int = 0
    """How many answers are cut; 0 is any number."""
    done: int = 0
    """How many answers have been cut."""
    _pairs: set[_Pair] = field(default_factory=set)
    _held: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def reset(self) -> None:
        """Reset every connection that there is now."""
        self._call(self._reset)

    def _reset(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    def hold(self) -> None:
        """Keep requests in the network until `let_go`, even if their sender has hung up."""
        self._call(self._held.clear)

    def let_go(self) -> None:
        self._call(self._held.set)

    def _call(self, function: Callable[[], object]) -> None:
        done = threading.Event()

        def call() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(call)
        assert done.wait(DEADLINE_SECONDS)

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._held.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._ending.wait()
        server.close()
        for pair in list(self._pairs):
            pair.reset()
        self._held.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, server)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forth(pair, reader))
                tasks.create_task(self._back(pair, answers))
        except* OSError:
            pair.reset()
        finally:
            self._pairs.discard(pair)
            for end in (writer, server):
                end.close()

    async def _forth(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(CHUNK):
            pair.marked = pair.marked or bool(self.cuts and self.cuts in piece)
            await asyncio.sleep(self.latency)
            await self._held.wait()
            pair.server.write(piece)
            await pair.server.drain()
        pair.server.write_eof()

    async def _back(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(CHUNK):
            await asyncio.sleep(self.latency)
            if pair.marked and self.cuts and not (self.most and self.done >= self.most):
                self.done += 1
                pair.client.write(piece[: len(piece) // 2])
                await pair.client.drain()
                pair.reset()
                return
            pair.marked = False
            pair.client.write(piece)
            await pair.client.drain()
        pair.client.transport.abort()

    def end(self) -> None:
        self._call(self._ending.set)


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    relay = Relay(target)
    started = threading.Event()
    thread = threading.Thread(target=relay._run, args=[started], name="relay", daemon=True)
    thread.start()
    assert started.wait(DEADLINE_SECONDS)
    try:
        yield relay
    finally:
        relay.end()
        thread.join(DEADLINE_SECONDS)
