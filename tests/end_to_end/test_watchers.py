"""Error trackers and APM agents: the lines of docs/observability.md under real servers.

A watcher patches what it watches, so each one runs in a server process of its own, and sends what
it collects to this machine or to nobody.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

import django
import pytest

from tests.harness.collector import Collector, collector
from tests.harness.event_source import Stream, events_path
from tests.harness.servers import (
    NO_REDIS,
    START_DEADLINE_SECONDS,
    WebServer,
    migrate,
    web_server,
)
from tests.harness.watched_site import documented

SITE = "tests.harness.watched_site.asgi:application"
STREAMS, EVENTS, POSTS = 40, 25, 5
MAX_SPANS_PER_REQUEST = 30
SPARE_MARKS = POSTS + 5
"""Requests that have just ended: Daphne keeps their tasks for a second."""
DEADLINE_SECONDS = 60.0
PATHS = (events_path("demo.a"), "/of-the-site/")
"""A stream of the service, on the fast path, and one of the site, on Django's own path."""
UNKNOWN_WRAPPER = 'transport.wrapped send="tests.harness.transport_site:wrapped.<locals>.wrapper"'
NEW_RELIC = """
[newrelic]
license_key = of-the-tests
app_name = site
developer_mode = true
startup_timeout = 10.0
utilization.detect_aws = false
utilization.detect_azure = false
utilization.detect_azurefunction = false
utilization.detect_gcp = false
utilization.detect_pcf = false
"""
"""It sends nothing, and does not ask which cloud it is in."""

SERVERS = {
    "uvicorn": ["uvicorn", SITE, "--timeout-graceful-shutdown", "1", "--no-access-log"],
    "daphne": ["daphne", "-v", "0", SITE],
}
DETACHED = "SocketTransport"
WATCHERS = (
    *("sentry", "sentry-synchronous", "opentelemetry", "opentelemetry-asgi", "newrelic"),
    *("elastic", "ddtrace"),
    # Before 6.1 Django itself drops the transaction that Elastic's app sets in `request_started`.
    *(("elastic-app",) if django.VERSION >= (6, 1) else ()),
)
REQUESTS = {
    "sentry": ("transaction",),
    "opentelemetry": ("GET", "POST"),
    "newrelic": ("WebTransaction",),
    "elastic": ("transaction",),
    "ddtrace": ("asgi.request",),
}
"""How the names begin that a watcher gives to the requests that it has seen."""

type Streams = list[Stream]


@dataclass(frozen=True)
class Watched:
    """A running server, its watcher, and where the watcher sends what it collects."""

    watcher: str
    server: str
    web: WebServer
    collector: Collector

    def report(self) -> dict[str, Any]:
        _, report = self.web.get("/watched")
        assert isinstance(report, dict)
        return report

    def collected(self, report: dict[str, Any]) -> Counter[str]:
        """What the watcher has finished, by name."""
        if self.watcher.startswith(("sentry", "elastic")):
            return self.collector.count()
        return Counter(report["spans"])

    def requests(self, collected: Counter[str]) -> int:
        """How many requests are among what was collected."""
        names = REQUESTS[self.watcher.partition("-")[0]]
        return sum(count for name, count in collected.items() if name.startswith(names))


def environment_of(watcher: str, folder: Path, collected: Collector) -> dict[str, str]:
    address = f"127.0.0.1:{collected.port}"
    (folder / "newrelic.ini").write_text(NEW_RELIC + documented("newrelic.ini"))
    return {
        "SITE_WATCHER": watcher,
        "DJANGO_SETTINGS_MODULE": "tests.harness.watched_site.settings",
        "NO_PROXY": "*",
        "SENTRY_DSN": f"http://key@{address}/1",
        "ELASTIC_APM_SERVER_URL": f"http://{address}",
        "ELASTIC_APM_API_REQUEST_TIME": "100ms",
        "ELASTIC_APM_CLOUD_PROVIDER": "none",
        "DD_TRACE_AGENT_URL": f"http://{address}",
        "DD_SERVICE": "site",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "NEW_RELIC_CONFIG_FILE": str(folder / "newrelic.ini"),
    }


PREFIX = {
    "newrelic": ["newrelic.admin", "run-program", sys.executable, "-m"],
    "ddtrace": ["ddtrace.commands.ddtrace_run", sys.executable, "-m"],
}


def wait_until_running(site: Watched) -> None:
    """Without a request that the watcher would see."""
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while not site.report()["ready"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def watched(watcher: str, server: str, folder: Path) -> Iterator[Watched]:
    migrate(folder)
    with ExitStack() as stack:
        collected = stack.enter_context(collector())
        command = [*PREFIX.get(watcher, []), *SERVERS[server]]
        settings = environment_of(watcher, folder, collected)
        web = stack.enter_context(
            web_server(command, redis_url=NO_REDIS, folder=folder, settings=settings, fresh=True)
        )
        try:
            site = Watched(watcher, server, web, collected)
            wait_until_running(site)
            yield site
        finally:
            print(web.log.read_text()[-4000:])  # noqa: T201


@asynccontextmanager
async def opened(site: Watched, count: int, path: str, **headers: str) -> AsyncIterator[Streams]:
    """So many streams that have begun."""
    async with AsyncExitStack() as stack:
        streams = [Stream(site.web.port, path, headers=headers) for _ in range(count)]
        for stream in streams:
            await stack.enter_async_context(stream)
        for stream in streams:
            assert (await stream.next()).type == "stream.cursor"
        yield streams


async def deliver(site: Watched, streams: Streams) -> None:
    """Publish 25 events in five requests, and read them from every stream."""
    data = [str(number) for number in range(EVENTS)]
    for some in batched(data, EVENTS // POSTS):
        events = [{"topic": "demo.a", "data": each} for each in some]
        status, _ = await asyncio.to_thread(site.web.publish, events)
        assert status == 201
    for stream in streams:
        assert [(await stream.next_event()).data for _ in data] == data


async def settled(site: Watched, requests: int) -> tuple[dict[str, Any], Counter[str]]:
    """The report and what was collected, once that is about so many requests."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        report = await asyncio.to_thread(site.report)
        collected = site.collected(report)
        if site.requests(collected) >= requests:
            assert site.requests(collected) == requests, collected
            return report, collected
        assert time.monotonic() < deadline, collected
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("loop_without_debug")
@pytest.mark.parametrize(
    ("watcher", "server"),
    [
        *((watcher, "uvicorn") for watcher in WATCHERS),
        *((watcher, "daphne") for watcher in ("sentry", "opentelemetry-asgi", "newrelic")),
    ],
)
async def test_a_watcher_sees_requests_and_no_deliveries(
    watcher: str, server: str, tmp_path: Path
) -> None:
    with watched(watcher, server, tmp_path) as site:
        report = await asyncio.to_thread(site.report)
        known = site.requests(site.collected(report))
        async with AsyncExitStack() as stack:
            streams: Streams = []
            for path in PATHS:
                streams += await stack.enter_async_context(opened(site, STREAMS // 2, path))
            # The request of a stream has ended, and the stream is open.
            report, before = await settled(site, known + STREAMS)
            assert report["transports"] == {DETACHED: STREAMS}
            await deliver(site, streams)
            report, after = await settled(site, known + STREAMS + POSTS)
            # What it makes of a request, it makes five times; and nothing 1,000 times.
            assert after.total() - before.total() < POSTS * MAX_SPANS_PER_REQUEST
            assert report["marks"] <= SPARE_MARKS
            assert report["marked tasks"] == []
            if watcher.startswith("opentelemetry"):
                check_spans_of_events(after)
        # The clients have left, which is no error.
        status, _, _ = await asyncio.to_thread(
            lambda: site.web.request("GET", "/fails/", headers={})
        )
        assert status == 500
        report, collected = await settled(site, known + STREAMS + POSTS + 1)
        assert report["leaks"] == []
        assert report["contacted"] == []
        assert collected["event"] + collected["error"] <= 1
        check_log(site)
        await check_outside(site)


def check_spans_of_events(collected: Counter[str]) -> None:
    """One span for a publication and one for the fan-out of a batch, which names the former."""
    assert collected["carillon publish"] == POSTS
    deliveries = {name: n for name, n in collected.items() if "carillon deliver" in name}
    assert 1 <= sum(deliveries.values()) <= POSTS
    assert all(name.startswith("CONSUMER carillon deliver ") for name in deliveries)


def check_log(site: Watched) -> None:
    log = site.web.log.read_text()
    for word in ("handoff.refused", "transport.wrapped", "transport.unknown_server", "failed to"):
        assert word not in log


async def check_outside(site: Watched) -> None:
    """With the watcher's middleware around the whole application, events go past it too."""
    async with opened(site, 3, PATHS[0], outside="watcher") as streams:
        await deliver(site, streams)
        report = await asyncio.to_thread(site.report)
        assert report["transports"] == {DETACHED: 3}
    check_log(site)
    # A wrapper that is not known may look at bodies, and is named once.
    for _ in range(2):
        async with opened(site, 3, PATHS[0], outside="unknown") as streams:
            await deliver(site, streams)
            report = await asyncio.to_thread(site.report)
            assert report["transports"]["AsgiTransport"] == 3
    assert site.web.log.read_text().count(UNKNOWN_WRAPPER) == 1
