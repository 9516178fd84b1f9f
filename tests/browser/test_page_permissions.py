"""The page shows topics that are denied, and permissions that end."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import READER, Site
from tests.browser.visitor import expect_data, expect_state, log_in, visit

READERS_OWN_TOPIC = "user.2"
"""The reader is the second user that is made."""

pytestmark = pytest.mark.browser


async def test_denied_topics_are_named_with_the_remedy(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic, "orders.7")
    denial = page.locator("#denied")
    await expect(denial).to_contain_text("You may not subscribe to “orders.7”")
    await expect(denial).to_contain_text("Log in")
    await expect(page.locator(".chip.denied")).to_have_text(["orders.7×"])
    await expect(page.locator("#state-detail")).to_have_text("Listening on 1 topic.")
    await site.publish({"topic": topic, "data": "for everyone"})
    await expect_data(page, "for everyone")
    await page.get_by_role("button", name="Remove orders.7").click()
    await expect(denial).to_be_hidden()


async def test_a_logout_in_another_tab_is_shown_and_the_request_is_not_repeated(
    page: Page, site: Site
) -> None:
    await page.clock.install()
    await visit(page, site.url, site.new_topic())
    await log_in(page, READER)
    await visit(page, site.url, READERS_OWN_TOPIC)
    other = await page.context.new_page()
    await other.goto(f"{site.url}/?topic={site.new_topic()}")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(urlsplit(request.url).path))
    await other.get_by_role("button", name="Log out").click()
    await expect_state(page, "refused")
    await expect(page.locator("#denied")).to_contain_text("You logged out.")
    await expect(page.locator("#denied")).to_contain_text("made for another user")
    requests = requested.count("/events/")
    await page.clock.fast_forward("30:00")
    assert requested.count("/events/") == requests
