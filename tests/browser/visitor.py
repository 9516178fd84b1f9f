"""Steps of a visitor on the page, and checks of what the page shows."""

from playwright.async_api import Page, expect

from tests.browser.conftest import PASSWORD


async def visit(page: Page, url: str, *topics: str, state: str = "live") -> None:
    await page.goto(f"{url}/?{'&'.join(f'topic={topic}' for topic in topics)}")
    await expect_state(page, state)


async def expect_state(page: Page, state: str) -> None:
    await expect(page.locator("#status")).to_have_attribute("data-state", state)


async def log_in(page: Page, name: str) -> None:
    """Log in by the link of the page, which leads back to the page."""
    await page.get_by_role("link", name="Log in").click()
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect_state(page, "live")


async def expect_data(page: Page, *oldest_first: str) -> None:
    """The page shows these events and no others, the newest on top."""
    shown = page.locator("#events .event-data")
    await expect(shown).to_have_text(list(reversed(oldest_first)))
