"""What the page says of topics that may not be heard, and of permissions that end."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import READER, Site
from tests.browser.visitor import expect_data, expect_state, log_in, visit

READERS_OWN = "user.2"
"""They are the second user that is made."""

pytestmark = pytest.mark.browser


async def test_topics_that_are_denied_are_named_with_the_cure(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic, "orders.7")
    denial = page.locator("#denied")
    await expect(denial).to_contain_text("You may not hear “orders.7”")
    await expect(denial).to_contain_text("Log in")
    await expect(page.locator(".chip.denied")).to_have_text(["orders.7×"])
    await expect(page.locator("#state-detail")).to_have_text("Listening on 1 topic.")
    await site.publish({"topic": topic, "data": "for everyone"})
    await expect_data(page, "for everyone")
    await page.get_by_role("button", name="Remove orders.7").click()
    await expect(denial).to_be_hidden()


async def test_whoever_logs_out_elsewhere_is_told_so_and_not_asked_for_again(
    page: Page, site: Site
) -> None:
    await page.clock.install()
    await visit(page, site.url, site.new_topic())
    await log_in(page, READER)
    await visit(page, site.url, READERS_OWN)
    other = await page.context.new_page()
    await other.goto(f"{site.url}/?topic={site.new_topic()}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    await other.get_by_role("button", name="Log out").click()
    await expect_state(page, "refused")
    await expect(page.locator("#state-detail")).to_contain_text("You logged out.")
    await expect(page.locator("#state-detail")).to_contain_text("You may not subscribe to")
    tried = asked.count("/events/")
    await page.clock.fast_forward("30:00")
    assert asked.count("/events/") == tried
