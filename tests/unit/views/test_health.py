"""What balancers and operators are told."""

import pytest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications.hub import runtime
from notifications.views import health
from tests.harness.django_client import answer
from tests.harness.servers import RedisServer, free_port

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


def keep_in(settings: DjangoSettings, url: str) -> None:
    settings.CARILLON = {
        **settings.CARILLON,
        "LOG": "redis",
        "REDIS_URL": url,
        "PUBLISH_TIMEOUT": 0.2,
    }


@pytest.mark.parametrize("what", ["live", "ready", "publish"])
async def test_a_process_that_is_well_says_so(async_client: AsyncClient, what: str) -> None:
    told = answer(await async_client.get(f"/health/{what}"))
    assert (told.status, told.body) == (200, {"status": what})
    assert told.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("what", ["live", "ready", "publish"])
async def test_a_process_is_well_in_redis(
    async_client: AsyncClient, settings: DjangoSettings, redis: RedisServer, what: str
) -> None:
    keep_in(settings, redis.url)
    assert (await async_client.get(f"/health/{what}")).status_code == 200


async def test_without_the_window_it_lives_and_is_not_ready(
    async_client: AsyncClient, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in(settings, f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(health, "READY_TIMEOUT", 0.01)
    assert (await async_client.get("/health/live")).status_code == 200
    told = answer(await async_client.get("/health/ready"))
    assert told.is_problem(503, "not-ready")
    assert int(told.headers["retry-after"]) > 0


async def test_once_the_window_was_loaded_redis_does_not_matter(
    async_client: AsyncClient, settings: DjangoSettings, redis: RedisServer
) -> None:
    keep_in(settings, redis.url)
    assert (await async_client.get("/health/ready")).status_code == 200
    redis.pause()
    try:
        assert (await async_client.get("/health/ready")).status_code == 200
        told = answer(await async_client.get("/health/publish"))
    finally:
        redis.resume()
    assert told.is_problem(503, "unavailable")
    assert int(told.headers["retry-after"]) > 0
    assert (await async_client.get("/health/publish")).status_code == 200


async def test_a_process_that_drains_is_not_ready(async_client: AsyncClient) -> None:
    here = runtime.start()
    assert await here.wait_ready(timeout=5)
    await here.drain(over=0)
    assert answer(await async_client.get("/health/ready")).is_problem(503, "not-ready")
    assert (await async_client.get("/health/live")).status_code == 200


async def test_a_process_that_drains_still_publishes(async_client: AsyncClient) -> None:
    here = runtime.start()
    assert await here.wait_ready(timeout=5)
    await here.drain(over=0)
    assert (await async_client.get("/health/publish")).status_code == 200
