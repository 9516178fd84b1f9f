"""Datastar without options: its streams come back, although it takes an end for the last."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request

from tests.browser.conftest import Inbox
from tests.browser.libraries import datastar
from tests.harness.servers import SERVERS, migrate, redis_server

pytestmark = pytest.mark.browser

CONNECT = """async ([library, url]) => {
  document.body.innerHTML = `<div data-init="@get('${url}')"></div>`;
  await import(library);
}"""


def note_streams(page: Page, cursors: Inbox[str]) -> None:
    """Put the cursor of each request for a stream into the inbox."""

    def note(request: Request) -> None:
        if "/events/" in request.url:
            cursors.put(request.headers.get("last-event-id", ""))

    page.on("request", note)


async def test_a_stream_that_has_grown_old_comes_back_at_its_cursor(
    browser: Browser, tmp_path: Path
) -> None:
    library = await asyncio.to_thread(datastar)
    with redis_server(tmp_path / "redis") as redis:
        migrate(tmp_path)
        for name, start in SERVERS.items():
            with start(redis.url, tmp_path, DEBUG="1", CARILLON_MAX_STREAM_AGE="1") as server:
                cursors = Inbox[str]()
                context = await browser.new_context()
                page = await context.new_page()
                note_streams(page, cursors)
                await page.route("**/datastar.js", lambda route: route.fulfill(path=library))
                await page.goto(f"{server.url}/health/live")
                await page.evaluate(CONNECT, ["/datastar.js", "/events/?topic=demo.x"])
                await cursors.until(lambda items: len(items) >= 3)
                assert cursors.items[0] == "", name
                assert all(cursors.items[1:]), name
                await context.close()
