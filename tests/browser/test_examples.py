"""The example pages in a browser in which no script runs."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

LONG = " a" * 200
"""The end of a question. The answer repeats each word, and so it lasts until a test has looked."""
PAGES = ["", "streaming/", "astreaming/", "chat/", "chat/?question=stop", "loader/"]


@pytest_asyncio.fixture(loop_scope="session")
async def quiet(browser: Browser) -> AsyncIterator[Page]:
    """A tab of a browser without JavaScript."""
    context = await browser.new_context(java_script_enabled=False)
    yield await context.new_page()
    await context.close()


async def open_page(page: Page, site: Site, path: str) -> None:
    """Go there without waiting for the load event, which comes only at the end of the stream."""
    await page.goto(f"{site.url}/examples/{path}", wait_until="commit")


async def test_the_chat_answers_word_by_word_beside_a_form_for_the_next_question(
    quiet: Page, site: Site
) -> None:
    await open_page(quiet, site, "chat/")
    markup = "<img src=x onerror=alert(1)> stop" + LONG[:120]
    question, log = quiet.get_by_label("Your question"), quiet.get_by_role("log")
    await question.fill(markup)
    await question.press("Enter")
    await expect(quiet.get_by_text("Answering…")).to_be_visible()
    await expect(log).to_contain_text(f"You asked: “{markup}”")
    await expect(question).to_be_focused()
    await question.fill("and the next")
    await expect(quiet.get_by_text("That was the answer.")).to_be_visible()
    await expect(quiet.get_by_text("Answering…")).to_be_hidden()
    await expect(log).to_contain_text("closed where it is.")
    await expect(question).to_have_value("and the next")
    await expect(question).to_be_focused()
    assert await quiet.locator("img:not(.brand img), script").count() == 0


async def test_the_chat_can_be_stopped(quiet: Page, site: Site) -> None:
    await open_page(quiet, site, f"chat/?question=how{LONG}")
    await quiet.get_by_role("link", name="Stop").click(no_wait_after=True)
    await expect(quiet).to_have_url(f"{site.url}/examples/chat/")
    await expect(quiet.get_by_role("log")).to_have_count(0)


async def test_the_loader_shows_its_shell_at_once_and_parts_as_they_come(
    quiet: Page, site: Site
) -> None:
    await open_page(quiet, site, "slow-loader/")
    loading, peal = quiet.get_by_text("Loading 5 parts…"), quiet.get_by_text("The peal")
    await expect(loading).to_be_visible()
    await expect(quiet.get_by_role("heading", name="The ringers")).to_be_visible()
    await expect(peal).to_be_visible()
    await expect(quiet.get_by_text("Everything is here.")).to_be_visible()
    await expect(loading).to_be_hidden()
    for name in ("The peal", "The hour", "The ringers", "The clock", "The rest"):
        await expect(quiet.get_by_role("heading", name=name)).to_be_visible()
    order = await quiet.get_by_role("heading", level=2).all_text_contents()
    assert order.index("The hour") < order.index("The peal")


async def test_rows_appear_one_by_one(quiet: Page, site: Site) -> None:
    await open_page(quiet, site, "astreaming/")
    await expect(quiet.get_by_text("1 2 3 4 5 6")).to_have_count(1)
    await expect(quiet.get_by_role("status")).to_have_count(0)
    await expect(quiet.get_by_text("1 2 3 4 5 6")).to_have_count(2)
    await expect(quiet.get_by_role("status")).to_contain_text("That’s all")


async def test_axe_finds_nothing(browser: Browser, site: Site) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 800})

    async def check(path: str) -> None:
        page = await context.new_page()
        await open_page(page, site, path)
        await page.wait_for_load_state()
        await expect_accessible(page)

    await asyncio.gather(*map(check, PAGES))
    page = await context.new_page()
    await open_page(page, site, f"chat/?question=how{LONG}")
    await expect(page.get_by_text("Answering…")).to_be_visible()
    await expect_accessible(page)
    await expect(page.get_by_text("Answering…")).to_be_visible()
    await context.close()
