"""A thousand clients that read nothing, and 64 MB for them: it costs little, and nobody waits."""

import asyncio
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from notifications.events import Event
from notifications.log.base import Draft, Retention
from notifications.log.redis_sync import RedisAppender
from tests.faults.site import publish
from tests.harness.event_source import DEADLINE, subscribe
from tests.harness.servers import RedisServer, WebServer, uvicorn

MIB = 1024 * 1024
STALLED = 1_000
EVENTS = 1_000
EVENT = 64 * 1024 - 200
TOGETHER = 125
GROWTH = 100 * MIB
LEFT = 50 * MIB
DELAY = 1.5
"""On top of what such a flood costs anyway, most of it in Redis."""
RETENTION = Retention(events=100_000, bytes=64 * MIB, age=86_400)

pytestmark = pytest.mark.usefixtures("swift_loop")


def _connect(port: int, topic: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET /events/?topic={topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def _flood(appender: RedisAppender, topic: str) -> None:
    for _ in range(EVENTS // TOGETHER):
        appender.append([Draft(Event(topics=(topic,), data="x" * EVENT)) for _ in range(TOGETHER)])


def _closed(web: WebServer) -> list[str]:
    return re.findall(r"stream\.closed reason=(too_slow|fell_behind)", web.log.read_text())


class EndNotice:
    """Publishes and hears small events meanwhile, and keeps the longest delay and the most RSS."""

    def __init__(self, web: WebServer, topic: str) -> None:
        self._web = web
        self._topic = topic
        self._process = psutil.Process(web.pid)
        self.delay = 0.0
        self.most = 0

    @property
    def rss(self) -> int:
        return int(self._process.memory_info().rss)

    async def attend(self, other: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60), subscribe(self._web.port, self._topic) as stream:
            assert (await stream.next()).type == "stream.cursor"
            while not other.done():
                [cursor] = await publish(self._web, self._topic, "small")
                acknowledged = loop.time()
                assert (await stream.next_event()).id == cursor
                self.delay = max(self.delay, loop.time() - acknowledged)
                self.most = max(self.most, self.rss)
        await other


async def test_a_thousand_that_read_nothing_of_64_mb_hold_little_and_delay_nobody(
    redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    appender = RedisAppender(redis.url, prefix="carillon", retention=RETENTION, timeout=30)
    with ExitStack() as stack:
        stack.callback(appender.close)
        web = stack.enter_context(
            uvicorn(
                redis.url, tmp_path, DJANGO_SETTINGS_MODULE="tests.faults.short_deadline_settings"
            )
        )
        end_notice = EndNotice(web, f"{topic}.other")
        # First with nobody there, so that what the window itself takes is not counted.
        await end_notice.attend(asyncio.create_task(asyncio.to_thread(_flood, appender, topic)))
        before, alone = end_notice.rss, end_notice.delay
        clients = [stack.enter_context(_connect(web.port, topic)) for _ in range(STALLED)]
        for client in clients:
            assert client.recv(1)
        idle = end_notice.rss
        end_notice.delay = 0
        await end_notice.attend(asyncio.create_task(asyncio.to_thread(_flood, appender, topic)))
        async with asyncio.timeout(60):
            while len(_closed(web)) < STALLED:
                await asyncio.to_thread(web.get, "/health/live")
                end_notice.most = max(end_notice.most, end_notice.rss)
        grown, left = end_notice.most - idle, end_notice.rss - before
        print(f"{end_notice.delay=:.3f} s, {alone=:.3f} s, {grown / MIB=:.1f}, {left / MIB=:.1f}")  # noqa: T201
        assert end_notice.delay < alone + DELAY
        assert grown < GROWTH
        assert left < LEFT
