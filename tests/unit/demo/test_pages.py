"""The demo pages without a browser: complete, protected, and from any source."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient, Client, RequestFactory
from django.urls import reverse

from demo.chat import Chat
from demo.loader import Loader, Part, load_as_completed
from demo.slow_data import plain_hunt

PAGES = ["index", "streaming", "astreaming", "chat", "loader"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    monkeypatch.setattr("time.sleep", lambda _: None)


async def fetch(client: AsyncClient, name: str) -> tuple[Any, str]:
    response: Any = await client.get(reverse(f"demo:{name}"))
    pieces = [piece async for piece in response] if response.streaming else [response.content]
    return response, b"".join(pieces).decode()


@pytest.mark.parametrize("name", PAGES)
async def test_each_page_is_complete_protected_and_without_scripts(
    async_client: AsyncClient, name: str
) -> None:
    response, html = await fetch(async_client, name)
    assert response.status_code == 200
    assert html.rstrip().endswith("</html>")
    assert "<script" not in html
    assert "style=" not in html
    assert "default-src 'none'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("name", PAGES[1:])
async def test_a_head_request_has_the_headers_and_does_no_work(
    async_client: AsyncClient, name: str
) -> None:
    url = f"{reverse(f'demo:{name}')}?question=Why"
    head: Any = await async_client.head(url)
    assert [piece async for piece in head] == []
    page: Any = await async_client.get(url)
    assert head.headers == page.headers


def test_the_front_page_and_the_index_link_to_them(client: Client) -> None:
    index = reverse("demo:index")
    assert f'href="{index}"' in client.get("/").content.decode()
    html = client.get(index).content.decode()
    for name in PAGES[1:]:
        assert f'href="{reverse(f"demo:{name}")}"' in html


def test_the_plain_hunt_returns_to_rounds() -> None:
    rows = list(plain_hunt(6))
    assert rows[0] == rows[-1] == (1, 2, 3, 4, 5, 6)
    assert len(set(rows[:-1])) == 12
    assert all(sorted(row) == sorted(rows[0]) for row in rows)


async def text_of(response: Any) -> str:
    return b"".join([piece async for piece in response]).decode()


def asking(question: str) -> HttpRequest:
    return RequestFactory().get("/", {"question": question})


async def test_the_chat_answers_by_any_source_and_escapes_both_sides() -> None:
    async def source(question: str) -> AsyncGenerator[str]:
        yield "<script>"
        yield f"{question}</script>"

    view: Any = Chat.as_view(source=source)
    html = await text_of(await view(asking("</p><img src=x>")))
    assert "&lt;script&gt;&lt;/p&gt;&lt;img src=x&gt;&lt;/script&gt;" in html
    assert "<script" not in html
    assert "<img src=x>" not in html


async def test_a_question_is_cut_off_and_an_empty_one_is_not_asked() -> None:
    questions = list[str]()

    async def source(question: str) -> AsyncGenerator[str]:
        questions.append(question)
        yield "answer"

    view: Any = Chat.as_view(source=source)
    await text_of(await view(asking("x" * 1000)))
    html = await text_of(await view(asking("  ")))
    assert questions == ["x" * 500]
    assert 'role="log"' not in html


async def test_parts_arrive_in_any_order_and_one_that_fails_fails_alone() -> None:
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
    assert all(f'<slot name="{part.name}">' in shell for part in parts)
    assert "could not be loaded" in (await anext(pieces)).decode()
    for name in "two", "one":
        gates[name].set()
        assert f"{name} &lt;is&gt; here" in (await anext(pieces)).decode()
    assert [piece async for piece in pieces][-1].decode().rstrip().endswith("</html>")


async def test_a_reader_that_leaves_cancels_the_parts_that_are_not_loaded() -> None:
    cancelled = asyncio.Event()

    async def load() -> list[str]:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    async def quick() -> list[str]:
        return []

    loaded_parts = load_as_completed([Part("slow", "Slow", load), Part("quick", "Quick", quick)])
    assert (await anext(loaded_parts)).part.name == "quick"
    await loaded_parts.aclose()
    assert cancelled.is_set()
