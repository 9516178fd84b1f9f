"""The page at `/`, as a visitor uses it."""

import re
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import PUBLISHER, Inbox, Site
from tests.browser.faulty_proxy import FaultyProxy
from tests.browser.visitor import expect_data, expect_state, log_in, visit

pytestmark = pytest.mark.browser


async def test_an_event_is_shown_with_its_type_topic_time_and_id(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    [published] = await site.publish({"topic": topic, "type": "greeting", "data": {"to": "you"}})
    event = page.get_by_role("listitem").filter(has_text=published["id"])
    await expect(event.locator(".event-type")).to_have_text("greeting")
    await expect(event.locator(".event-topics")).to_have_text(topic)
    await expect(event.locator(".event-data")).to_have_text('{ "to": "you" }')
    await expect(event.locator("time")).to_have_attribute("datetime", re.compile(r"^\d{4}-.+T"))
    await expect(event.locator("time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))


async def test_the_content_of_an_event_is_only_ever_text(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    markup = "<img src=x onerror=alert(1)>"
    await site.publish({"topic": topic, "type": markup, "data": markup, "id": markup})
    await expect_data(page, markup)
    await expect(page.locator("#events img")).to_have_count(0)


async def test_topics_are_added_and_removed_and_kept_in_the_address(page: Page, site: Site) -> None:
    first, second = site.new_topic(), site.new_topic()
    await visit(page, site.url, first)
    await page.get_by_label("Add a topic").fill(second)
    await page.get_by_label("Add a topic").press("Enter")
    await expect(page).to_have_url(f"{site.url}/?topic={first}&topic={second}")
    await page.get_by_role("button", name=f"Remove {first}").click()
    await expect(page).to_have_url(f"{site.url}/?topic={second}")
    await expect(page.get_by_label("Add a topic")).to_be_focused()
    await expect_state(page, "live")
    await site.publish(
        {"topic": first, "data": "of no topic here"}, {"topic": second, "data": "of the second"}
    )
    await expect_data(page, "of the second")


async def test_a_change_of_topics_resumes_at_the_same_position(page: Page, site: Site) -> None:
    first, second = site.new_topic(), site.new_topic()
    await visit(page, site.url, first)
    await page.get_by_role("button", name="Disconnect").click()
    await expect_state(page, "closed")
    await site.publish({"topic": first, "data": "one"}, {"topic": second, "data": "two"})
    await page.get_by_label("Add a topic").fill(second)
    await page.get_by_label("Add a topic").press("Enter")
    await expect_data(page, "one", "two")


async def test_a_visitor_without_topics_gets_the_public_topic(page: Page, site: Site) -> None:
    await page.goto(site.url)
    await expect(page).to_have_url(f"{site.url}/?topic=demo.chat")
    await expect_state(page, "live")


async def test_the_snippets_name_the_topics(page: Page, site: Site) -> None:
    await visit(page, site.url, "demo.a", "demo.b%27c%20d")
    query = "topic=demo.a&topic=demo.b%27c+d"
    await expect(page.locator("#snippet-curl")).to_have_text(
        f"curl -N '{site.url}/events/?{query}'"
    )
    await expect(page.locator("#snippet-js")).to_contain_text(f'"/events/?{query}"')


async def test_nothing_is_missed_while_the_server_is_gone(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    await site.publish({"topic": topic, "data": "before"})
    await expect_data(page, "before")
    meanwhile = [f"meanwhile {number}" for number in range(20)]
    with site.gone():
        await expect_state(page, "reconnecting")
        await site.publish(*({"topic": topic, "data": text} for text in meanwhile))
    await expect_state(page, "live")
    await site.publish({"topic": topic, "data": "after"})
    await expect_data(page, "before", *meanwhile, "after")


async def test_an_eventsource_that_gave_up_is_replaced_from_the_last_cursor(
    page: Page, site: Site
) -> None:
    topic = site.new_topic()
    async with FaultyProxy.to(site.port) as proxy:
        await visit(page, proxy.url, topic)
        await site.publish({"topic": topic, "data": "before"})
        await expect_data(page, "before")
        # For the browser's attempt, the page's question why, and the page's first new EventSource.
        proxy.cut(refusals=3)
        await site.publish(*({"topic": topic, "data": text} for text in ("one", "two")))
        async with page.expect_request(re.compile("[?&]last_event_id=1")):
            await expect(page.locator("#state-detail")).to_contain_text("The server answered 503.")
        await expect_data(page, "before", "one", "two")
        await expect_state(page, "live")


async def test_a_stream_that_fell_silent_is_opened_again(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    with site.silent():
        await expect(page.locator("#state-detail")).to_contain_text("fell silent")
        await site.publish({"topic": topic, "data": "meanwhile"})
    await expect_data(page, "meanwhile")
    await expect_state(page, "live")


async def test_a_refusal_is_explained_and_the_request_is_not_repeated(
    page: Page, site: Site
) -> None:
    await page.clock.install()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(urlsplit(request.url).path))
    await visit(page, site.url, "secret", state="refused")
    await expect(page.locator("#state-detail")).to_contain_text(
        "You may not subscribe to 'secret'."
    )
    await expect(page.locator("#state-detail")).to_contain_text("log in")
    await page.clock.fast_forward("30:00")
    assert requested.count("/events/") == 2
    await page.get_by_role("button", name="Remove secret").click()
    await expect_state(page, "closed")


async def test_a_quiet_page_resumes_when_all_its_history_is_gone(page: Page, site: Site) -> None:
    topic = site.new_topic()
    cursors = await stream_ids(page)
    async with FaultyProxy.to(site.port) as proxy:
        await visit(page, proxy.url, topic)
        newest = await site.push_out_history()
        await cursors.until(lambda ids: newest in ids)
        cursors.items.clear()
        proxy.cut()
        await cursors.until(lambda ids: newest in ids)
        await site.publish({"topic": topic, "data": "at last"})
        await expect_data(page, "at last")
    await expect(page.locator("#events .divider")).to_have_count(0)


async def stream_ids(page: Page) -> Inbox[str]:
    """The ids of all events that this tab receives, signals included."""
    ids = Inbox[str]()
    devtools = await page.context.new_cdp_session(page)
    devtools.on("Network.eventSourceMessageReceived", lambda message: ids.put(message["eventId"]))
    await devtools.send("Network.enable")
    return ids


async def test_a_reset_is_shown(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    await site.publish({"topic": topic, "data": "before"})
    await expect_data(page, "before")
    await page.get_by_role("button", name="Disconnect").click()
    await site.publish({"topic": topic, "data": "lost"})
    await site.push_out_history()
    await page.get_by_role("button", name="Connect", exact=True).click()
    await expect_state(page, "reset")
    await expect(page.locator("#events .divider")).to_contain_text(
        "older than what the server keeps"
    )
    await expect_state(page, "live")
    await site.publish({"topic": topic, "data": "after"})
    await expect_data(page, "before", "after")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_axe_finds_nothing(
    page: Page, site: Site, colours: Literal["light", "dark"], width: int
) -> None:
    await page.emulate_media(color_scheme=colours, reduced_motion="reduce")
    await page.set_viewport_size({"width": width, "height": 800})
    await visit(page, site.url, "secret", state="refused")
    await expect_accessible(page)
    await visit(page, site.url, site.new_topic())
    await log_in(page, PUBLISHER)
    await expect_accessible(page)
    await page.get_by_label("Data").fill("Hello")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect_data(page, "Hello")
    await expect_accessible(page)
    # Without its cookies a form is refused, which shows the error page.
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading")).to_have_text("Not allowed")
    await expect_accessible(page)


async def expect_accessible(page: Page) -> None:
    result = await Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_an_inline_script_does_not_run(browser: Browser, site: Site) -> None:
    tab = await browser.new_page()
    await visit(tab, site.url, site.new_topic())
    async with tab.expect_console_message(
        lambda message: "Content Security Policy" in message.text
    ):
        await tab.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "document.title = 'run'";
              document.body.append(script);
            }"""
        )
    await expect(tab).to_have_title("Carillon")
