"""How many exports a process makes at a time: each may read all of the log."""

import gc
from typing import Any

import pytest
from django.test import AsyncClient

from notifications import apublish
from notifications.views.history import export

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

FORMS = ["csv", "ndjson", "json"]


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what another test has left
    monkeypatch.setattr(export, "MOST", 1)


async def asked(client: AsyncClient, form: str = "csv") -> Any:
    return await client.get(f"/events/history.{form}?topic=demo.a")


@pytest.mark.parametrize("form", FORMS)
async def test_one_too_many_is_told_when_to_come_back(async_client: AsyncClient, form: str) -> None:
    await apublish("demo.a", 1)
    first = await asked(async_client)
    refused = await asked(async_client, form)
    assert refused.status_code == 429
    assert refused["Retry-After"] == str(export.RETRY_AFTER)
    assert refused.json()["type"] == "urn:carillon:problem:too-many-requests"
    assert len([piece async for piece in first]) == 1
    assert (await asked(async_client, form)).status_code == 200


@pytest.mark.parametrize("form", FORMS)
async def test_one_that_has_ended_is_none(async_client: AsyncClient, form: str) -> None:
    for _ in range(3):
        response = await asked(async_client, form)
        assert response.status_code == 200
        if response.streaming:
            assert len([piece async for piece in response]) == 1


async def test_one_whose_client_leaves_has_ended(async_client: AsyncClient) -> None:
    await apublish("demo.a", 1)
    pieces = aiter(await asked(async_client))
    await anext(pieces)
    assert (await asked(async_client)).status_code == 429
    await pieces.aclose()
    assert (await asked(async_client)).status_code == 200


async def test_one_that_never_begins_holds_up_nobody(async_client: AsyncClient) -> None:
    response = await asked(async_client)
    assert (await asked(async_client)).status_code == 429
    del response
    gc.collect()
    assert (await asked(async_client)).status_code == 200


async def test_to_be_refused_or_to_ask_for_the_head_takes_none(async_client: AsyncClient) -> None:
    assert (await async_client.get("/events/history.csv?topic=secret")).status_code == 403
    await async_client.head("/events/history.csv?topic=demo.a")
    assert (await asked(async_client)).status_code == 200
