"""The example pages without a browser: whole, protected, and by any source."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient, Client, RequestFactory
from django.urls import reverse

from demo import bells
from demo.chat import Chat
from demo.loader import Loader, Part, as_they_finish

PAGES = ["index", "streaming", "astreaming", "chat", "loader"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    monkeypatch.setattr("time.sleep", lambda _: None)


async def got(client: AsyncClient, name: str) -> tuple[Any, str]:
    response: Any = await client.get(reverse(f"demo:{name}"))
    pieces = [each async for each in response] if response.streaming else [response.content]
    return response, b"".join(pieces).decode()


@pytest.mark.parametrize("name", PAGES)
async def test_each_is_whole_protected_and_without_scripts(
    async_client: AsyncClient, name: str
) -> None:
    response, html = await got(async_client, name)
    assert response.status_code == 200
    assert html.rstrip().endswith("</html>")
    assert "<script" not in html
    assert "style=" not in html
    assert "default-src 'none'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("name", PAGES[1:])
async def test_to_be_asked_for_the_head_is_no_work(async_client: AsyncClient, name: str) -> None:
    url = f"{reverse(f'demo:{name}')}?question=Why"
    head: Any = await async_client.head(url)
    assert [each async for each in head] == []
    whole: Any = await async_client.get(url)
    assert head.headers == whole.headers


def test_the_front_page_and_the_index_lead_to_them(client: Client) -> None:
    index = reverse("demo:index")
    assert f'href="{index}"' in client.get("/").content.decode()
    html = client.get(index).content.decode()
    for name in PAGES[1:]:
        assert f'href="{reverse(f"demo:{name}")}"' in html


def test_the_hunt_comes_back_to_rounds() -> None:
    rows = list(bells.plain_hunt(6))
    assert rows[0] == rows[-1] == (1, 2, 3, 4, 5, 6)
    assert len(set(rows[:-1])) == 12
    assert all(sorted(row) == sorted(rows[0]) for row in rows)


async def page_of(response: Any) -> str:
    return b"".join([each async for each in response]).decode()


def asking(question: str) -> HttpRequest:
    return RequestFactory().get("/", {"question": question})


async def test_the_chat_answers_by_any_source_and_escapes_both_sides() -> None:
    async def source(question: str) -> AsyncGenerator[str]:
        yield "<script>"
        yield f"{question}</script>"

    view: Any = Chat.as_view(source=source)
    html = await page_of(await view(asking("</p><img src=x>")))
    assert "&lt;script&gt;&lt;/p&gt;&lt;img src=x&gt;&lt;/script&gt;" in html
    assert "<script" not in html
    assert "<img src=x>" not in html


async def test_a_question_has_an_end_and_none_asks_nobody() -> None:
    asked = list[str]()

    async def source(question: str) -> AsyncGenerator[str]:
        asked.append(question)
        yield "answer"

    view: Any = Chat.as_view(source=source)
    await page_of(await view(asking("x" * 1000)))
    html = await page_of(await view(asking("  ")))
    assert asked == ["x" * 500]
    assert 'role="log"' not in html


async def test_parts_come_in_any_order_and_one_that_fails_fails_alone() -> None:
    gates = {name: asyncio.Event() for name in ("one", "two")}

    def part(name: str) -> Part:
        async def load() -> list[str]:
            await gates[name].wait()
            return [f"{name} <is> here"]

        return Part(name, name.title(), load)

    async def fail() -> list[str]:
        raise RuntimeError("out of order")

    parts = [part("one"), part("two"), Part("three", "Three", fail)]
    view: Any = Loader.as_view(parts=parts)
    pieces = aiter(await view(RequestFactory().get("/")))
    shell = (await anext(pieces)).decode()
    assert all(f'<slot name="{each.name}">' in shell for each in parts)
    assert "could not be loaded" in (await anext(pieces)).decode()
    for name in "two", "one":
        gates[name].set()
        assert f"{name} &lt;is&gt; here" in (await anext(pieces)).decode()
    assert [each async for each in pieces][-1].decode().rstrip().endswith("</html>")


async def test_who_leaves_ends_what_is_not_loaded_yet() -> None:
    cancelled = asyncio.Event()

    async def load() -> list[str]:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    async def quick() -> list[str]:
        return []

    loaded = as_they_finish([Part("slow", "Slow", load), Part("quick", "Quick", quick)])
    assert (await anext(loaded)).part.name == "quick"
    await loaded.aclose()
    assert cancelled.is_set()
