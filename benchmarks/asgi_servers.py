"""`python -m benchmarks.asgi_servers`: what each ASGI server does with streams, as a table.

docs/deploy.md has the table. Each server runs our project with the fewest options, and with
`CARILLON_DRAIN_SECONDS` at one second.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.harness.asgi_servers import COMMANDS, asgi_server
from tests.harness.event_source import Stream
from tests.harness.servers import PUBLISH_KEY, WebServer, migrate, redis_server

SETTINGS = {"CARILLON_DRAIN_SECONDS": "1", "CARILLON_HISTORY_EVENTS": "20"}
EVENTS, EVENT_BYTES = 600, 60_000
STOP_SECONDS = 40.0
LEFT_SECONDS = 10.0
MIB = 2**20


@dataclass
class Findings:
    """A row of the table."""

    server: str
    noticed: str
    """How long after a client left the server tells the application."""
    unread: str
    """What an unread stream adds to the memory of the server's processes."""
    stop: str
    """How long the server takes to stop while a stream is open, at most `STOP_SECONDS`."""
    farewell: str
    """How the stream ends then."""


def memory(server: WebServer) -> int:
    process = psutil.Process(server.pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


async def noticed(server: WebServer) -> str:
    """By the notice that an ended stream publishes."""
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
    path = "/events/?topic=demo.left"
    async with Stream(server.port, path) as stays:
        await stays.next()
        async with Stream(server.port, f"{path}&end_notice=demo.left", headers=headers) as leaves:
            await leaves.next()
        left_at = time.monotonic()
        try:
            async with asyncio.timeout(LEFT_SECONDS):
                while (await stays.next()).type != "left":
                    pass
        except TimeoutError:
            return f"not in {LEFT_SECONDS:g} s"
    return f"{1000 * (time.monotonic() - left_at):.0f} ms"


async def unread(server: WebServer) -> str:
    """After `EVENTS` events for a client that reads nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
    try:
        writer.write(b"GET /events/?topic=demo.unread HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.read(1)
        before = memory(server)
        batch = [{"topic": "demo.unread", "data": "x" * EVENT_BYTES}] * 10
        for _ in range(EVENTS // len(batch)):
            await asyncio.to_thread(server.publish, batch)
        return f"{(memory(server) - before) / MIB:.0f} MiB"
    finally:
        writer.close()


async def stopping(server: WebServer) -> tuple[str, str]:
    async with Stream(
        server.port, "/events/?topic=demo.stop", deadline_seconds=STOP_SECONDS
    ) as stream:
        await stream.next()
        started_at = time.monotonic()
        server.popen.send_signal(signal.SIGTERM)
        farewell = await last_block(stream)
        try:
            await asyncio.to_thread(server.popen.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return f"not in {STOP_SECONDS:g} s", farewell
    return f"{time.monotonic() - started_at:.1f} s", farewell


async def last_block(stream: Stream) -> str:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            while (await stream.next()).type != "stream.closing":
                pass
    except TimeoutError:
        return "stays open"
    except (OSError, EOFError, StopAsyncIteration) as error:
        return f"cut ({type(error).__name__})"
    return "stream.closing"


async def findings(name: str, server: WebServer) -> Findings:
    return Findings(
        name if " " in name else f"{name} {version(name)}",
        await noticed(server),
        await unread(server),
        *await stopping(server),
    )


def main(names: Sequence[str]) -> None:
    print("| " + " | ".join(field.name for field in fields(Findings)) + " |")
    print("|---" * len(fields(Findings)) + "|")
    with tempfile.TemporaryDirectory() as path, redis_server(Path(path) / "redis") as redis:
        folder = Path(path)
        migrate(folder)
        for name in names or COMMANDS:
            with asgi_server(name, redis_url=redis.url, folder=folder, **SETTINGS) as server:
                row = asyncio.run(findings(name, server))
            print("| " + " | ".join(vars(row).values()) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
