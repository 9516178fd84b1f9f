"""A thousand clients read nothing of 64 MB: they cost little, and delay no other client."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from notifications.events import Event
from notifications.log.entries import Draft, Retention
from notifications.log.redis_sync import RedisSyncLog
from tests.faults.site import publish
from tests.faults.stalled import (
    MIB,
    POLL_SECONDS,
    close_reasons,
    connect_without_reading,
    stream_request,
)
from tests.harness.event_source import subscribe
from tests.harness.servers import COMMANDS, RedisServer, WebServer, web_server

STALLED = 1_000
EVENTS = 1_000
EVENT_BYTES = 64 * 1024 - 200
BATCH = 125
GROWTH_BYTES = 100 * MIB
REMAINING_BYTES = 50 * MIB
DELAY_SECONDS = 8.0
"""For a busy machine. Whoever waited for a client would wait for its write deadline."""
RETENTION = Retention(events=100_000, bytes=64 * MIB, age=86_400)

pytestmark = [pytest.mark.usefixtures("loop_without_debug"), pytest.mark.timeout(300)]


def _flood(appender: RedisSyncLog, topic: str) -> None:
    for _ in range(EVENTS // BATCH):
        appender.append(
            [Draft(Event(topics=(topic,), data="x" * EVENT_BYTES)) for _ in range(BATCH)]
        )


def _closed(web: WebServer) -> int:
    return sum(reason in ("too_slow", "fell_behind") for reason in close_reasons(web))


class Probe:
    """Publishes and receives small events meanwhile; keeps the longest delay and the most RSS."""

    def __init__(self, web: WebServer, topic: str) -> None:
        self._web = web
        self._topic = topic
        self._process = psutil.Process(web.pid)
        self.delay = 0.0
        self.most_rss = 0

    @property
    def rss(self) -> int:
        return int(self._process.memory_info().rss)

    async def run_beside(self, work: Callable[[], None]) -> None:
        """Run the work in a thread, once the probe's own stream is open."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60), subscribe(self._web.port, self._topic) as stream:
            assert (await stream.next()).type == "stream.cursor"
            other = asyncio.create_task(asyncio.to_thread(work))
            while not other.done():
                [cursor] = await publish(self._web, self._topic, "small")
                acknowledged = loop.time()
                assert (await stream.next_event()).id == cursor
                self.delay = max(self.delay, loop.time() - acknowledged)
                self.most_rss = max(self.most_rss, self.rss)
        await other


async def test_a_thousand_clients_that_read_nothing_cost_little_memory_and_delay_nobody(
    redis: RedisServer, topic: str, tmp_path: Path
) -> None:
    appender = RedisSyncLog(redis.url, prefix="carillon", retention=RETENTION, timeout=30)
    with ExitStack() as stack:
        stack.callback(appender.close)
        web = stack.enter_context(
            web_server(
                COMMANDS["uvicorn"],
                redis_url=redis.url,
                folder=tmp_path,
                settings={
                    "DJANGO_SETTINGS_MODULE": "tests.faults.debug_settings",
                    "CARILLON_WRITE_DEADLINE": str(DELAY_SECONDS + 2),
                },
                fresh=True,
            )
        )
        probe = Probe(web, f"{topic}.other")
        # First without clients, so that the memory of the window itself is not counted.
        await probe.run_beside(partial(_flood, appender, topic))
        before, alone = probe.rss, probe.delay
        request = stream_request(topic)
        clients = [
            stack.enter_context(connect_without_reading(web.port, request)) for _ in range(STALLED)
        ]
        for client in clients:
            assert client.recv(1)
        idle = probe.rss
        probe.delay = 0
        await probe.run_beside(partial(_flood, appender, topic))
        async with asyncio.timeout(120):
            while _closed(web) < STALLED:
                await asyncio.to_thread(web.get, "/health/live")
                await asyncio.sleep(POLL_SECONDS)
                probe.most_rss = max(probe.most_rss, probe.rss)
        grown, remaining = probe.most_rss - idle, probe.rss - before
        print(f"{probe.delay=:.3f} s, {alone=:.3f} s, {grown / MIB=:.1f}, {remaining / MIB=:.1f}")  # noqa: T201
        assert probe.delay < 2 * alone + DELAY_SECONDS
        assert grown < GROWTH_BYTES
        assert remaining < REMAINING_BYTES
