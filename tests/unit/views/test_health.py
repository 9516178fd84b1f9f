"""Health checks for load balancers and operators."""

import pytest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications.hub import runtime
from notifications.views import health
from tests.harness.django_client import answer
from tests.harness.servers import RedisServer, free_port

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends", "known_tables")


def use_redis(settings: DjangoSettings, url: str) -> None:
    settings.CARILLON = {
        **settings.CARILLON,
        "LOG": "redis",
        "REDIS_URL": url,
        "PUBLISH_TIMEOUT": 0.2,
    }


@pytest.mark.parametrize("check", ["live", "ready", "publish"])
async def test_a_healthy_process_answers_200(async_client: AsyncClient, check: str) -> None:
    response = answer(await async_client.get(f"/health/{check}"))
    assert (response.status, response.body) == (200, {"status": check})
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("check", ["live", "ready", "publish"])
async def test_a_process_with_redis_is_healthy(
    async_client: AsyncClient, settings: DjangoSettings, redis: RedisServer, check: str
) -> None:
    use_redis(settings, redis.url)
    assert (await async_client.get(f"/health/{check}")).status_code == 200


async def test_without_its_window_a_process_is_live_but_not_ready(
    async_client: AsyncClient, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_redis(settings, f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(health, "PROBE_TIMEOUT_SECONDS", 0.01)
    assert (await async_client.get("/health/live")).status_code == 200
    response = answer(await async_client.get("/health/ready"))
    assert response.is_problem(503, "not-ready")
    assert int(response.headers["retry-after"]) > 0


async def test_once_the_window_is_loaded_a_process_is_ready_without_redis(
    async_client: AsyncClient, settings: DjangoSettings, redis: RedisServer
) -> None:
    use_redis(settings, redis.url)
    assert (await async_client.get("/health/ready")).status_code == 200
    redis.pause()
    try:
        assert (await async_client.get("/health/ready")).status_code == 200
        response = answer(await async_client.get("/health/publish"))
    finally:
        redis.resume()
    assert response.is_problem(503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert (await async_client.get("/health/publish")).status_code == 200


async def test_a_draining_process_is_not_ready(async_client: AsyncClient) -> None:
    running = runtime.start()
    assert await running.wait_ready(timeout=20)
    await running.drain(over=0)
    assert answer(await async_client.get("/health/ready")).is_problem(503, "not-ready")
    assert (await async_client.get("/health/live")).status_code == 200


async def test_a_draining_process_still_publishes(async_client: AsyncClient) -> None:
    running = runtime.start()
    assert await running.wait_ready(timeout=20)
    await running.drain(over=0)
    assert (await async_client.get("/health/publish")).status_code == 200
