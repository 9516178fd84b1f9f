"""`/examples/notes/`: htmx, Turbo and Datastar show each change once, whatever fails in between."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.conftest import Site
from tests.browser.faulty_proxy import FaultyProxy
from tests.browser.libraries import put_libraries

pytestmark = pytest.mark.browser

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
MARK = "() => { document.querySelector('#notes').title = 'marked'; }"
IS_MARKED = "() => document.querySelector('#notes').title === 'marked'"


@pytest.fixture(scope="module", autouse=True)
def libraries(site: Site) -> None:
    """Here, where a package that cannot be had skips the tests."""
    put_libraries(site.static)


@asynccontextmanager
async def reader(browser: Browser, url: str, library: str) -> AsyncIterator[Page]:
    """A page of notes whose stream goes through `url`."""
    context = await browser.new_context(viewport={"width": 390, "height": 800})
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))

    def note_policy(line: ConsoleMessage) -> None:
        if "Content Security Policy" in line.text:
            faults.append(line.text)

    def note_foreign(request: Request) -> None:
        if not request.url.startswith(url):
            faults.append(request.url)

    context.on("console", note_policy)
    context.on("request", note_foreign)
    await page.goto(f"{url}/examples/notes/?as={library}")
    yield page
    await context.close()
    assert faults == []


async def add(page: Page, text: str) -> None:
    """The visitor adds a note, but not in this page, which may be loading just now."""
    cookies = await page.context.cookies()
    token = next(cookie["value"] for cookie in cookies if cookie["name"] == "csrftoken")
    answer = await page.request.post(page.url, form={"text": text, "csrfmiddlewaretoken": token})
    assert answer.status == 204


async def has(page: Page, *texts: str) -> None:
    """The page shows these notes, each once, in this order, and counts them."""
    await expect(page.locator("#notes li > span")).to_have_text(list(texts))
    counted = f"{len(texts)} note{'' if len(texts) == 1 else 's'}"
    await expect(page.locator("#count")).to_have_text(counted)


@pytest.mark.parametrize("library", ["htmx", "htmx4", "turbo", "datastar"])
async def test_each_change_is_shown_once(browser: Browser, site: Site, library: str) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultyProxy.to(site.port))
        proxy.cut(refusals=1)  # the first request, which ends htmx 4 and Turbo
        page = await stack.enter_async_context(reader(browser, proxy.url, library))
        await page.evaluate(MARK)
        await add(page, "<b>one</b>")
        await has(page, "<b>one</b>")

        # A proxy without an origin answers before the stream comes back.
        proxy.cut(refusals=1)
        await add(page, "two")
        await has(page, "<b>one</b>", "two")
        await add(page, "three")
        await has(page, "<b>one</b>", "two", "three")

        # Nobody looks at the tab for a while.
        await page.evaluate(HIDE, True)
        await add(page, "four")
        await page.evaluate(HIDE, False)
        await has(page, "<b>one</b>", "two", "three", "four")

        await page.get_by_role("button", name="Remove “two”").click()
        await has(page, "<b>one</b>", "three", "four")
        assert await page.evaluate(IS_MARKED), "it has been the same page all the time"

        # The log forgets what the page has missed: so the page is loaded again.
        proxy.cut(refusals=1_000_000)
        await add(page, "five")
        await site.push_out_history()
        proxy.cut()
        await has(page, "<b>one</b>", "three", "four", "five")
        await add(page, "six")
        await has(page, "<b>one</b>", "three", "four", "five", "six")
        assert not await page.evaluate(IS_MARKED)
        await expect_accessible(page)
