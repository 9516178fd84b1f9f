"""`/examples/chat/?live=1`: a reader who reloads or comes late gets the whole answer once."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

QUESTION = "Is <b>this</b> safe?"
WHOLE = "Whatever you write, and whatever I answer, goes through the template's autoescaping"


async def ask(page: Page, site: Site, question: str) -> None:
    await page.goto(f"{site.url}/examples/chat/?live=1")
    await page.get_by_label("Your question").fill(question)
    await page.get_by_role("button", name="Ask").click()
    await expect(page.locator("#answer")).to_contain_text("You asked")


async def test_all_readers_have_the_whole_answer_once(
    page: Page, site: Site, browser: Browser
) -> None:
    await ask(page, site, QUESTION)
    await page.reload()  # in the middle of it
    other = await browser.new_page()
    await other.goto(page.url)
    texts = []
    for reader in page, other:
        await expect(reader.locator("#state")).to_have_text("That was the answer.")
        texts.append(await reader.locator("#answer").inner_text())
    assert texts[0] == texts[1]
    assert texts[0].count("You asked") == 1
    assert WHOLE in texts[0]
    assert texts[0].endswith("either.")
    assert await page.locator("#answer b").count() == 0
    await expect_accessible(page)
    await other.close()


async def test_a_reader_stops_it_for_all(page: Page, site: Site) -> None:
    # The answer begins with the question, and has to last until Stop is clicked.
    await ask(page, site, "And if I stop you?" + " a" * 240)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#state")).to_have_text("Stopped.")
    text = await page.locator("#answer").inner_text()
    await page.reload()
    await expect(page.locator("#state")).to_have_text("Stopped.")
    assert await page.locator("#answer").inner_text() == text
    assert not text.endswith("where it is.")
