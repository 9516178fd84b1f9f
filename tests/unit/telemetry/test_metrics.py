"""`/metrics`: its samples, who may read it, and the dashboard that uses it."""

import asyncio
import json
import re
import time
from math import isnan
from typing import Any

import psutil
import pytest
from django.db import OperationalError
from django.test import AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings as DjangoSettings

from notifications.errors import Unavailable
from notifications.hub import metrics_exporter, runtime
from notifications.hub.hub import Hub
from notifications.hub.metrics_exporter import MetricsExporter
from notifications.hub.quotas import descriptor_limit
from notifications.hub.subscribers import CloseReason, Start
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import Retention
from notifications.publishing.outbox import Backlog
from notifications.telemetry.counters import process_counters
from notifications.views import metrics as views
from tests.harness.django_client import answer, post, subscribed
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry
from tests.harness.servers import ROOT

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

KEY = "a-key-that-reads-metrics"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
DEADLINE_SECONDS = 60.0


@pytest.fixture
def key(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "METRICS_KEYS": [KEY]}


@pytest.fixture(autouse=True)
def outbox(monkeypatch: pytest.MonkeyPatch) -> list[Backlog | Exception]:
    """The database answers with the last item."""
    answers: list[Backlog | Exception] = [Backlog(waiting=2, age=30.5, refused=0, relayed=True)]

    def backlog(using: str) -> Backlog:
        assert using == "default"
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]

    monkeypatch.setattr(views, "backlog", backlog)
    return answers


async def scrape(client: AsyncClient) -> dict[str, float]:
    """The samples by name, and label where there is first."""
    response = await client.get("/metrics", headers=AUTHORIZATION)
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    samples = {}
    for family in text_string_to_metric_families(response.content.decode()):
        for sample in family.samples:
            label = "".join(value for name, value in sample.labels.items() if name != "le")
            samples[f"{sample.name}:{label}" if label else sample.name] = sample.value
    return samples


@pytest.mark.usefixtures("key")
async def test_every_counter_and_gauge_follows_the_events(async_client: AsyncClient) -> None:
    runtime.start()
    before = await scrape(async_client)

    def increase(name: str) -> float:
        return after[name] - before.get(name, 0)

    async with (
        subscribed(async_client, "demo.x") as first,
        subscribed(async_client, "demo.x", headers={"Last-Event-ID": "nonsense"}) as second,
    ):
        assert (await first.next()).type == "stream.cursor"
        assert (await second.next()).type == "stream.reset"
        for number in range(3):
            assert (await post(async_client, {"topic": "demo.x", "data": number})).status == 201
        await post(async_client, {"topic": "demo.nobody", "data": 0})
        assert await first.data(3) == await second.data(3) == ["0", "1", "2"]
        after = await scrape(async_client)
        assert after["carillon_streams"] - before["carillon_streams"] == 2
        assert increase("carillon_streams_opened_total") == 2
        assert increase("carillon_stream_resets_total:unknown") == 1
        assert increase("carillon_events_published_total") == 4
        assert increase("carillon_events_read_total") == 4
        assert increase("carillon_events_delivered_total") == 6
        assert after["carillon_window_events"] == 4
        assert after["carillon_window_bytes"] > 0
        assert after["carillon_window_span_seconds"] >= 0
        assert after["carillon_tail_lag_seconds"] == 0
    await runtime.stop()
    assert (await post(async_client, b"{")).status == 400
    before, after = after, await scrape(async_client)
    assert increase("carillon_streams_closed_total:stopping") == 2
    assert after["carillon_streams"] == before["carillon_streams"] - 2
    assert increase("carillon_problems_total:bad-request") == 1


async def test_events_from_history_count_as_delivered() -> None:
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1), entry(2)))
    hub = Hub(EPOCH, window)
    before = process_counters.delivered, process_counters.opened
    process_counters.latencies.clear()
    subscriber = hub.subscribe(frozenset({"t"}), FakeTransport(), Start(since_ms=0))
    await hub.deliver(batch(2, entry(3), entry(4), entry(5)))
    hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    hub.leave(subscriber, CloseReason.KICKED)
    await hub.deliver(batch(5, entry(6)))
    assert len(process_counters.latencies) == 1, "a batch that any subscriber got is timed once"
    assert (process_counters.delivered, process_counters.opened) == (before[0] + 5, before[1] + 1)


async def test_a_subscriber_whose_transport_is_busy_is_slow() -> None:
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(1)))
    hub = Hub(EPOCH, window)
    transport = FakeTransport(held=True)
    hub.subscribe(frozenset({"t"}), transport, Start())
    hub.subscribe(frozenset({"t"}), FakeTransport(), Start())
    assert hub.slow == 1
    transport.drain()
    assert hub.slow == 0


@pytest.mark.usefixtures("key")
async def test_the_outbox_is_measured_unless_its_database_fails(
    async_client: AsyncClient, outbox: list[Backlog | Exception]
) -> None:
    samples = await scrape(async_client)
    assert samples["carillon_outbox_events:default"] == 2
    assert samples["carillon_outbox_age_seconds:default"] == 30.5
    outbox.append(OperationalError("gone"))
    samples = await scrape(async_client)
    assert isnan(samples["carillon_outbox_events:default"])
    assert isnan(samples["carillon_outbox_age_seconds:default"])
    assert samples["carillon_streams"] >= 0


class FakeLog:
    """Returns its head, or is away."""

    def __init__(self, head: int | None) -> None:
        self.head = head

    async def state(self) -> Cursor:
        if self.head is None:
            raise Unavailable("away", outcome="unknown")
        return Cursor(EPOCH, make_position(self.head))


async def test_a_tail_lags_while_the_log_has_more_or_is_away() -> None:
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(5)))
    log: Any = FakeLog(5)
    hub = Hub(EPOCH, window)
    exporter = MetricsExporter(hub, log, catch_up_seconds=0.01)
    assert await exporter._is_complete()
    log.head = None
    assert not await exporter._is_complete()
    log.head = 9
    assert not await exporter._is_complete()
    looking = asyncio.create_task(exporter._is_complete())
    await asyncio.sleep(0)
    await hub.deliver(batch(5, entry(9)))
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await looking, "an event that is just being read is no lag"


async def test_without_a_key_in_the_settings_nobody_may_read_metrics(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    refused = answer(await async_client.get("/metrics"))
    assert refused.is_problem(403, "forbidden")
    assert "METRICS_KEYS" in refused.body["detail"]
    settings.DEBUG = True
    assert (await async_client.get("/metrics")).status_code == 200


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "credentials", ["", f"Bearer {KEY}x", f"Basic {KEY}", "Bearer", "Bearer é"]
)
async def test_a_request_without_the_key_is_unauthenticated(
    async_client: AsyncClient, credentials: str
) -> None:
    headers = {"Authorization": credentials} if credentials else {}
    refused = answer(await async_client.get("/metrics", headers=headers))
    assert refused.is_problem(401, "unauthenticated")


@pytest.mark.usefixtures("key")
async def test_behind_a_proxy_with_basic_auth_the_key_has_another_header(
    async_client: AsyncClient,
) -> None:
    headers = {"Authorization": "Basic c3RhZ2luZzp4", "X-API-Key": KEY}
    assert (await async_client.get("/metrics", headers=headers)).status_code == 200
    headers = {"Authorization": f"Basic c3RhZ2luZzp4,Bearer {KEY}"}
    assert (await async_client.get("/metrics", headers=headers)).status_code == 200


@pytest.mark.usefixtures("key")
async def test_other_methods_are_not_allowed(async_client: AsyncClient) -> None:
    refused = answer(await async_client.post("/metrics", headers=AUTHORIZATION))
    assert refused.is_problem(405, "method-not-allowed")


@pytest.mark.usefixtures("key")
async def test_without_prometheus_client_the_problem_names_the_remedy(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_exporter, "find_spec", lambda _: None)
    missing = answer(await async_client.get("/metrics", headers=AUTHORIZATION))
    assert missing.is_problem(501, "not-installed")
    assert "django-carillon[metrics]" in missing.body["detail"]
    async with subscribed(async_client, "demo.x") as stream:
        assert (await stream.next()).type == "stream.cursor"


@pytest.mark.usefixtures("key")
async def test_every_metric_of_the_dashboard_and_the_alerts_exists(
    async_client: AsyncClient,
) -> None:
    runtime.start()
    process_counters.closed["x"] += 0
    existing = {name.partition(":")[0] for name in await scrape(async_client)}
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    used = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"carillon_\w+", target["expr"])
    }
    assert len(used) >= 12
    used |= set(re.findall(r"carillon_\w+", (ROOT / "docs/alerts.yml").read_text()))
    families = (ROOT / "notifications/telemetry/metrics.py").read_text()
    labelled = {
        f"{name}_total" for name in re.findall(r'Counter\("(carillon_\w+)", "[^"]*", \[', families)
    }
    assert used - existing - labelled == set()


@pytest.mark.usefixtures("key")
async def test_what_the_process_uses_is_measured_beside_its_limits(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_STREAMS": 70}
    assert await runtime.start().wait_ready(timeout=DEADLINE_SECONDS)
    samples = await scrape(async_client)
    process = psutil.Process()
    assert 0 < samples["carillon_process_cpu_seconds_total"] <= time.process_time()
    rss = process.memory_info().rss
    assert samples["carillon_process_resident_bytes"] == pytest.approx(rss, rel=0.2)
    assert samples["carillon_streams_limit"] == 70
    assert samples["carillon_process_descriptors_limit"] == descriptor_limit()
    descriptors = samples["carillon_process_descriptors"]
    # NaN before Linux 6.2
    assert isnan(descriptors) or descriptors == pytest.approx(process.num_fds(), abs=10)


@pytest.mark.usefixtures("key")
async def test_every_metric_is_documented(async_client: AsyncClient) -> None:
    runtime.start()
    documented = (ROOT / "docs/run.md").read_text()
    ours = {name for name in await scrape(async_client) if name.startswith("carillon_")}
    names = {re.sub("(_bucket|_count|_sum|_created)?(:.*)?$", "", name) for name in ours}
    assert [name for name in sorted(names) if f"`{name}" not in documented] == []
