"""The limit of concurrent exports in a process: each export may read the whole log."""

import gc
from typing import Any

import pytest
from django.test import AsyncClient

from notifications import apublish
from notifications.views.history.export import RETRY_AFTER_SECONDS, export_limit

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

FORMATS = ["csv", "ndjson", "json"]


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # exports of other tests
    monkeypatch.setattr(export_limit, "maximum", 1)


async def history(client: AsyncClient, format_name: str = "csv") -> Any:
    return await client.get(f"/events/history.{format_name}?topic=demo.a")


@pytest.mark.parametrize("format_name", FORMATS)
async def test_an_export_over_the_limit_is_refused_with_retry_after(
    async_client: AsyncClient, format_name: str
) -> None:
    await apublish("demo.a", 1)
    first = await history(async_client)
    refused = await history(async_client, format_name)
    assert refused.status_code == 429
    assert refused["Retry-After"] == str(RETRY_AFTER_SECONDS)
    assert refused.json()["type"] == "urn:carillon:problem:too-many-requests"
    assert len([chunk async for chunk in first]) == 1
    assert (await history(async_client, format_name)).status_code == 200


@pytest.mark.parametrize("format_name", FORMATS)
async def test_a_finished_export_frees_its_slot(
    async_client: AsyncClient, format_name: str
) -> None:
    for _ in range(3):
        response = await history(async_client, format_name)
        assert response.status_code == 200
        if response.streaming:
            assert len([chunk async for chunk in response]) == 1


async def test_an_export_whose_client_leaves_frees_its_slot(async_client: AsyncClient) -> None:
    await apublish("demo.a", 1)
    chunks = aiter(await history(async_client))
    await anext(chunks)
    assert (await history(async_client)).status_code == 429
    await chunks.aclose()
    assert (await history(async_client)).status_code == 200


async def test_an_export_that_never_starts_frees_its_slot(async_client: AsyncClient) -> None:
    response = await history(async_client)
    assert (await history(async_client)).status_code == 429
    del response
    gc.collect()
    assert (await history(async_client)).status_code == 200


async def test_a_refused_request_or_a_head_request_takes_no_slot(async_client: AsyncClient) -> None:
    assert (await async_client.get("/events/history.csv?topic=secret")).status_code == 403
    await async_client.head("/events/history.csv?topic=demo.a")
    assert (await history(async_client)).status_code == 200
