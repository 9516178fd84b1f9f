"""The publish rate: each publisher has its own, and a refusal says how long to wait."""

import pytest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications.errors import TooMany
from notifications.publishing.rate_limit import RateLimit
from notifications.telemetry.counters import process_counters
from tests.harness.django_client import post
from tests.harness.fakes import FakeClock

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def limited_endpoint(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publish endpoint has empty buckets, which fill by the test's clock."""
    limit = RateLimit(clock=clock)
    monkeypatch.setattr("notifications.views.publish.publish_rate_limit", limit)


def set_rate(settings: DjangoSettings, rate: float) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_RATE": rate}


@pytest.mark.usefixtures("limited_endpoint")
async def test_a_publisher_above_the_rate_learns_how_long_to_wait(
    settings: DjangoSettings, clock: FakeClock, async_client: AsyncClient
) -> None:
    set_rate(settings, 10)
    events = [{"topic": "demo.x", "data": n} for n in range(45)]
    assert (await post(async_client, events)).status == 201  # 10 were saved up, 35 are owed
    answer = await post(async_client, events[0])
    assert answer.is_problem(429, "too-many-requests")
    assert answer.headers["retry-after"] == "4"
    assert answer.body["retry_after"] == 4
    clock.now += 3.4
    assert (await post(async_client, events[0])).status == 429
    clock.now += 0.3
    assert (await post(async_client, events[0])).status == 201


@pytest.mark.usefixtures("limited_endpoint")
async def test_a_refused_request_is_neither_read_nor_published(
    settings: DjangoSettings, async_client: AsyncClient
) -> None:
    set_rate(settings, 1)
    assert (await post(async_client, {"topic": "demo.x", "data": 1})).status == 201
    before = process_counters.published
    assert (await post(async_client, b"{not even JSON")).status == 429
    assert process_counters.published == before


@pytest.mark.usefixtures("limited_endpoint")
async def test_an_unreadable_request_counts_too(
    settings: DjangoSettings, async_client: AsyncClient
) -> None:
    set_rate(settings, 2)
    statuses = [(await post(async_client, b"{")).status for _ in range(4)]
    assert statuses == [400, 400, 429, 429]


def test_a_rate_below_one_a_second_is_a_rate(settings: DjangoSettings, clock: FakeClock) -> None:
    set_rate(settings, 0.1)
    limit = RateLimit(clock=clock)
    limit.check("key:a")
    with pytest.raises(TooMany) as refused:
        limit.check("key:a")
    assert refused.value.extensions["retry_after"] == 10
    clock.now += 10.1
    limit.check("key:a")


def test_publishers_do_not_share_a_bucket_and_full_buckets_are_dropped(
    settings: DjangoSettings, clock: FakeClock
) -> None:
    set_rate(settings, 1)
    limit = RateLimit(max_buckets=3, clock=clock)
    for name in "abc":
        limit.check(name)
        limit.take(name, 100)
    clock.now += 5
    limit.check("d")
    assert limit.publishers == {"a", "b", "c", "d"}, "a publisher in debt keeps its bucket"
    clock.now += 1_000
    limit.check("e")
    assert limit.publishers == {"e"}
    with pytest.raises(TooMany):
        limit.check("e")
