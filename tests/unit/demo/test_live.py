"""The live chat: each answer has its own topic, and a secret opens it."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import AsyncClient

from demo.answers import answer
from demo.chat import Chat
from demo.live import LiveAnswers
from tests.harness.published import read_published

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

PATH = "/examples/chat/?live=1"
DEADLINE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def live_answers(monkeypatch: pytest.MonkeyPatch) -> LiveAnswers:
    """The view's answers, without those of other tests, and written quickly."""
    live_answers = LiveAnswers()
    monkeypatch.setattr(Chat, "live_answers", live_answers)
    monkeypatch.setattr(Chat, "source", staticmethod(partial(answer, pause_seconds=0.001)))
    return live_answers


async def ask(client: AsyncClient, question: str) -> tuple[str, str]:
    """The address of the answer, and its secret."""
    response: Any = await client.post(PATH, {"question": question})
    assert response.status_code == 302
    query = parse_qs(urlsplit(response["Location"]).query)
    assert query["question"] == [question]
    return response["Location"], query["answer"][0]


async def published(secret: str) -> list[tuple[str, Any]]:
    return [
        ((entry.type or b"").decode(), json.loads(entry.data))
        for entry in await read_published()
        if entry.topics == (f"examples.chat.{secret}",)
    ]


async def wait_until_written(live_answers: LiveAnswers) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await live_answers.wait_until_written()


async def test_an_answer_is_written_without_any_reader(
    async_client: AsyncClient, live_answers: LiveAnswers
) -> None:
    _, secret = await ask(async_client, "How?")
    await wait_until_written(live_answers)
    events = await published(secret)
    assert events[-1][0] == "done"
    assert "You asked: “How?”" in "".join(data.get("text", "") for _, data in events)


async def test_the_page_has_a_link_that_opens_it_and_nothing_else(
    async_client: AsyncClient, live_answers: LiveAnswers
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
    await wait_until_written(live_answers)


async def test_a_reader_with_the_secret_stops_it(
    async_client: AsyncClient, live_answers: LiveAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(question: str) -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0.001)
            yield "and "

    monkeypatch.setattr(Chat, "source", staticmethod(endless))
    _, secret = await ask(async_client, "How?")
    response = await async_client.post(PATH, {"stop": secret})
    assert response.status_code == 204
    await wait_until_written(live_answers)
    assert (await published(secret))[-1][1]["stopped"] is True


@pytest.mark.parametrize("fields", [{}, {"question": " "}, {"stop": "no secret"}])
async def test_an_incomplete_form_is_refused(
    async_client: AsyncClient, fields: dict[str, str]
) -> None:
    assert (await async_client.post(PATH, fields)).status_code == 400


async def test_an_invented_address_is_refused(async_client: AsyncClient) -> None:
    response = await async_client.get(f"{PATH}&answer=examples.x")
    assert response.status_code == 400


async def test_the_number_of_answers_written_at_once_has_a_limit(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chat, "live_answers", LiveAnswers(max_answers=0))
    assert (await async_client.post(PATH, {"question": "How?"})).status_code == 503
