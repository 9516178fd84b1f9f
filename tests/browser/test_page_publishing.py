"""The form of the page that publishes."""

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import PUBLISHER, READER, Site
from tests.browser.visitor import expect_data, expect_state, log_in, visit

pytestmark = pytest.mark.browser


async def test_a_user_with_the_permission_publishes_from_the_page(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    await log_in(page, PUBLISHER)
    await page.get_by_label("Type").fill("order.paid")
    await page.get_by_label("Data").fill('{"order": 42}')
    await page.get_by_label("Data").press("Control+Enter")
    event = page.locator("#events .event")
    await expect(event.locator(".event-type")).to_have_text("order.paid")
    await expect(event.locator(".event-data")).to_have_text('{ "order": 42 }')
    await expect(page.locator("#publish-result")).to_have_text("Published to 1 topic.")


async def test_data_that_is_almost_json_becomes_text_only_if_the_user_wants_that(
    page: Page, site: Site
) -> None:
    await visit(page, site.url, site.new_topic())
    await log_in(page, PUBLISHER)
    as_text = page.get_by_role("button", name="Publish as text")
    await page.get_by_label("Data").fill('{"order": 42')
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-result")).to_contain_text("This is not JSON")
    await expect(page.locator("#events .event")).to_have_count(0)
    await page.get_by_label("Data").fill("[Ada] hello")
    await expect(as_text).to_be_hidden()
    await page.get_by_role("button", name="Publish", exact=True).click()
    await as_text.click()
    await expect_data(page, "[Ada] hello")
    await expect(as_text).to_be_hidden()


async def test_a_refused_event_is_explained(page: Page, site: Site) -> None:
    await visit(page, site.url, site.new_topic())
    await log_in(page, PUBLISHER)
    await page.get_by_label("Type").fill("stream.mine")
    await page.get_by_label("Data").fill("Hello")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-result")).to_contain_text("'stream.'")


async def test_publishing_again_after_a_lost_response_is_safe(page: Page, site: Site) -> None:
    async def lose_the_response(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await visit(page, site.url, site.new_topic())
    await log_in(page, PUBLISHER)
    await page.route("**/publish/", lose_the_response, times=1)
    await page.get_by_label("Data").fill("Hello")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-result")).to_contain_text("Publishing again is safe.")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-result")).to_contain_text("nothing was published twice")
    await expect_data(page, "Hello")


async def test_only_a_user_with_the_permission_sees_the_form(page: Page, site: Site) -> None:
    form = page.locator("#publish-form")
    url = f"{site.url}/?topic={site.new_topic()}"
    await page.goto(url)
    await expect_state(page, "live")
    await expect(form).to_have_count(0)
    await log_in(page, READER)
    await expect(page).to_have_url(url)
    await expect(form).to_have_count(0)
    await expect(page.locator(".publish")).to_contain_text("carillon.publish_event")
    await page.get_by_role("button", name="Log out").click()
    await log_in(page, PUBLISHER)
    await expect(page).to_have_url(url)
    await expect(form).to_be_visible()
