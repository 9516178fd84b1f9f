"""Rules for every response of the HTTP interface."""

import pytest
from django.test import AsyncClient, Client

from tests.harness.django_client import AUTHORIZED, JSON

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends", "known_tables")

EVENT = b'{"topic": "demo.a", "data": "x"}'


@pytest.mark.parametrize("path", ["/events/?topic=demo.a", "/publish/", "/openapi.json"])
async def test_an_unknown_host_is_refused(async_client: AsyncClient, path: str) -> None:
    headers = {"Host": "evil.example", **AUTHORIZED}
    for method in ("get", "post"):
        response = await getattr(async_client, method)(path, headers=headers)
        assert response.status_code == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/events/?topic=demo.a", 200),
        ("/events/?topic=private", 403),
        ("/events/", 400),
        ("/publish/", 405),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/health/publish", 200),
        ("/nowhere", 404),
    ],
)
async def test_no_proxy_or_cache_stores_a_response(
    async_client: AsyncClient, path: str, status: int
) -> None:
    response = await async_client.get(path)
    assert response.status_code == status
    assert "no-store" in response.headers["Cache-Control"]


async def test_no_proxy_or_cache_stores_a_receipt(async_client: AsyncClient) -> None:
    response = await async_client.post(
        "/publish/", data=EVENT, content_type=JSON, headers=AUTHORIZED
    )
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"


def test_no_content_type_is_sniffed() -> None:
    for path in ("/events/", "/publish/", "/health/live", "/openapi.json", "/nowhere"):
        assert Client().get(path).headers["X-Content-Type-Options"] == "nosniff"
