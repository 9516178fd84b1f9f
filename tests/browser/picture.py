"""`.venv/bin/python -m tests.browser.picture` draws pictures of the page.

`docs/page.png` shows it with some events, and `docs/bell.png` with the notifications of a visitor.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import FloatRect, async_playwright, expect

from tests.browser.conftest import ARGUMENTS, MAKE_USERS, PUBLISHER, SETTINGS
from tests.browser.visitor import expect_data, log_in, visit
from tests.harness.servers import ROOT, WebServer, daphne, manage, migrate, redis_server

TOPICS = "demo.hello", "demo.orders"
EVENTS = [
    {"topic": "demo.hello", "data": {"text": "Hello!"}},
    {"topic": "demo.orders", "type": "order.placed", "data": {"order": 42, "total": "12.50"}},
    {"topic": "demo.orders", "type": "order.paid", "data": {"order": 42}},
]
NOTIFICATIONS = f"""
from django.contrib.auth.models import User
from notifications import notify
for text in (
    "Your password was changed",
    "eve: Can you have a look at the draft before noon?",
    "Order 42 was paid",
):
    notify(User.objects.get(username={PUBLISHER!r}), "message", {{"text": text}}, url="/")
"""
SHOWN = '{ "text": "Hello!" }', '{ "order": 42, "total": "12.50" }', '{ "order": 42 }'


async def draw(server: WebServer, folder: Path, send: Callable[[], str]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=ARGUMENTS
        )
        page = await browser.new_page(
            viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
        )
        await visit(page, server.url, *TOPICS)
        await log_in(page, PUBLISHER)
        server.publish(EVENTS)
        await expect_data(page, *SHOWN)
        await page.screenshot(path=folder / "page.png")
        await asyncio.to_thread(send)
        await expect(page.locator("carillon-bell [part=badge]")).to_have_text("3")
        await page.locator("#bell").click()
        await expect(page.locator("carillon-bell [part=badge]")).to_be_hidden()
        clip: FloatRect = {"x": 700, "y": 0, "width": 580, "height": 400}
        await page.screenshot(path=folder / "bell.png", clip=clip)
        await browser.close()


def main() -> None:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        redis = stack.enter_context(redis_server(Path(folder) / "redis"))
        migrate(Path(folder))
        run = partial(manage, "shell", "-c", redis_url=redis.url, folder=Path(folder))
        run(MAKE_USERS)
        server = stack.enter_context(daphne(redis.url, Path(folder), port=0, **SETTINGS))
        asyncio.run(draw(server, ROOT / "docs", partial(run, NOTIFICATIONS)))


if __name__ == "__main__":
    main()
