"""django-eventstream's own JavaScript client, in the example's chat, on our streams."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.harness.servers import redis_server
from tests.unit.compat.chat import Site, project

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("chat")
    with redis_server(folder / "redis") as redis:
        made = project(folder / "project", "migrated", redis, folder)
        made.migrate()
        with made.served(by="daphne") as site:
            yield site


async def send(page: Page, text: str) -> None:
    """Send a message, and wait for the response: the stream may bring the message before it."""
    await page.get_by_label("Say").fill(text)
    async with page.expect_event("requestfinished", lambda request: request.method == "POST"):
        await page.get_by_role("button", name="Send").click()


async def test_two_visitors_see_each_other_and_the_messages_sent_while_the_server_was_away(
    chat: Site, page: Page
) -> None:
    other = await page.context.new_page()
    for tab in (page, other):
        await tab.goto(f"{chat.web.url}/rooms/kitchen/")
        await expect(tab.locator("body")).to_have_attribute("data-state", "open")
    messages = page.locator("#messages li")
    await send(page, "hello")
    await expect(messages).to_have_text(["hello"])
    await send(other, "<b>there</b>")
    for tab in (page, other):
        await expect(tab.locator("#messages li")).to_have_text(["hello", "<b>there</b>"])

    port = chat.web.port
    chat.web.kill()
    chat.project.python(
        "from django_eventstream import send_event\n"
        "for n in range(12): send_event('room-kitchen', 'message', {'text': str(n)})"
    )
    with ExitStack() as stack:
        back = stack.enter_context(chat.project.served(by="daphne", port=port))
        everything = ["hello", "<b>there</b>", *map(str, range(12))]
        await expect(messages).to_have_text(everything)
        await back.send("room-kitchen", {"text": "live"})
        await expect(messages).to_have_text([*everything, "live"])


async def test_a_page_begins_at_the_position_at_which_it_was_made(chat: Site, page: Page) -> None:
    port = chat.web.port
    with ExitStack() as stack:
        site = chat
        if chat.web.popen.poll() is not None:
            site = stack.enter_context(chat.project.served(by="daphne", port=port))
        await site.send("room-cellar", {"text": "before"})
        await page.goto(f"{site.web.url}/rooms/cellar/")
        await expect(page.locator("body")).to_have_attribute("data-state", "open")
        await send(page, "after")
        await expect(page.locator("#messages li")).to_have_text(["after"])
