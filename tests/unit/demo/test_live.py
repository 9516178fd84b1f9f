"""The live chat: an answer is a topic of its own, and its secret is what opens it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import AsyncClient

from demo import answers, live
from notifications.conf import get_settings
from notifications.log.factory import open_log

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

PATH = "/examples/chat/?live=1"
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(answers, "PAUSE", 0.001)
    yield
    live._writing.clear()


async def ask(client: AsyncClient, question: str) -> tuple[str, str]:
    """Where the answer is, and its secret."""
    response: Any = await client.post(PATH, {"question": question})
    assert response.status_code == 302
    query = parse_qs(urlsplit(response["Location"]).query)
    assert query["question"] == [question]
    return response["Location"], query["answer"][0]


async def said(secret: str) -> list[tuple[str, Any]]:
    async with open_log(get_settings()) as log:
        state = await log.state()
        return [
            ((entry.type or b"").decode(), json.loads(entry.data))
            async for batch in log.read(until=state.position)
            for entry in batch.entries
            if entry.topics == (f"examples.chat.{secret}",)
        ]


async def written() -> None:
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*live._writing)


async def test_an_answer_is_written_though_nobody_reads(async_client: AsyncClient) -> None:
    _, secret = await ask(async_client, "How?")
    await written()
    events = await said(secret)
    assert events[-1][0] == "done"
    assert "You asked: “How?”" in "".join(data.get("text", "") for _, data in events)


async def test_the_page_has_a_link_that_opens_it_and_nothing_else(
    async_client: AsyncClient,
) -> None:
    location, secret = await ask(async_client, "<script>")
    response = await async_client.get(location)
    text = response.content.decode()
    assert 'data-events="/events/?link=' in text
    assert "since=all" in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "script-src 'self'" in response["Content-Security-Policy"]
    refused = await async_client.get(f"/events/?topic=examples.chat.{secret}")
    assert refused.status_code == 403
    await written()


async def test_who_knows_the_secret_stops_it(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(question: str) -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0.001)
            yield "and "

    monkeypatch.setattr("demo.chat.Chat.source", staticmethod(for_ever))
    _, secret = await ask(async_client, "How?")
    response = await async_client.post(PATH, {"stop": secret})
    assert response.status_code == 204
    await written()
    assert (await said(secret))[-1][1]["stopped"] is True


@pytest.mark.parametrize("fields", [{}, {"question": " "}, {"stop": "no secret"}])
async def test_what_makes_no_sense_is_refused(
    async_client: AsyncClient, fields: dict[str, str]
) -> None:
    assert (await async_client.post(PATH, fields)).status_code == 400


async def test_an_address_that_was_made_up_is_refused(async_client: AsyncClient) -> None:
    response = await async_client.get(f"{PATH}&answer=examples.x")
    assert response.status_code == 400


async def test_only_so_many_are_written_at_once(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST", 0)
    assert (await async_client.post(PATH, {"question": "How?"})).status_code == 503
