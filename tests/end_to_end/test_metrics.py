"""Metrics of two workers: either answers for both, and for a worker that was killed."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.event_source import subscribe
from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess, carillon_process
from tests.harness.servers import PUBLISH_KEY, RedisServer, environment

KEY = "a-key-that-reads-metrics"
STREAMS = 6


@pytest.fixture(scope="module")
def serve(
    session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CarillonProcess]:
    settings = {"PORT": "0", "CARILLON_DRAIN_SECONDS": "0", "CARILLON_METRICS_KEYS": KEY}
    given = environment(session_redis.url, tmp_path_factory.mktemp("project"), settings)
    with carillon_process(
        "serve", "--server", "uvicorn", "--workers", "2", environment=given
    ) as serve:
        yield serve


class Scraper:
    """Requests the metrics on a new connection each time, so from either worker."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.last: dict[str, float] = {}

    def __call__(self) -> dict[str, float]:
        """The sum of each metric over its labels. No counter may go down between two calls."""
        url = f"http://127.0.0.1:{self._port}/metrics"
        answer = httpx.get(
            url, headers={"Authorization": f"Bearer {KEY}"}, timeout=DEADLINE_SECONDS
        )
        assert answer.status_code == 200, answer.text
        now: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                now[sample.name] = now.get(sample.name, 0) + sample.value
        for name, value in self.last.items():
            if name.endswith("_total"):
                assert now[name] >= value, name
        self.last = now
        return now

    async def until(self, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            found = await asyncio.to_thread(self)
            while not condition(found):
                found = await asyncio.to_thread(self)
        return found


def publish(port: int) -> None:
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}"}
    event = {"topic": "demo.x", "data": "x"}
    url = f"http://127.0.0.1:{port}/publish/"
    assert httpx.post(url, json=event, headers=headers, timeout=DEADLINE_SECONDS).status_code == 201


async def opened(stack: AsyncExitStack, port: int) -> None:
    """Open a stream that stays. A worker that has not loaded its window yet closes its streams."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            stream = await stack.enter_async_context(subscribe(port, "demo.x"))
            if (await stream.next()).type == "stream.cursor":
                return


async def test_counters_outlive_workers_that_are_killed_and_gauges_do_not(
    serve: CarillonProcess,
) -> None:
    scrape = Scraper(serve.port)
    async with AsyncExitStack() as stack:
        for _ in range(STREAMS):
            await opened(stack, serve.port)
        both = await scrape.until(lambda found: found.get("carillon_streams") == STREAMS)
        assert both["carillon_streams_opened_total"] >= STREAMS
        memory = sum(worker.memory_info().rss for worker in serve.workers())
        assert both["carillon_process_resident_bytes"] == pytest.approx(memory, rel=0.3)
        assert both["carillon_process_cpu_seconds_total"] > 0
        await asyncio.to_thread(publish, serve.port)
        await scrape.until(lambda found: found["carillon_events_delivered_total"] == STREAMS)
        for worker in serve.workers():
            worker.kill()
            await asyncio.to_thread(serve.wait_for, "worker.died (pid=)")
        after = await scrape.until(lambda found: found.get("carillon_streams") == 0)
        assert after["carillon_events_delivered_total"] == STREAMS
        assert after["carillon_streams_opened_total"] >= STREAMS
    async with AsyncExitStack() as stack:
        await opened(stack, serve.port)
        await scrape.until(lambda found: found["carillon_streams"] == 1)


def test_no_other_process_gets_a_variable_of_prometheus_client(serve: CarillonProcess) -> None:
    for worker in serve.workers():
        given = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert b"PROMETHEUS_MULTIPROC_DIR" not in given
