"""The page at `/`, as a visitor uses it."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.conftest import PUBLISHER, Inbox, Site
from tests.browser.faulty_proxy import FaultyProxy
from tests.browser.visitor import expect_data, expect_state, log_in, visit

pytestmark = pytest.mark.browser


async def test_an_event_is_shown_with_its_type_topic_and_time_and_its_id_on_request(
    page: Page, site: Site
) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    [published] = await site.publish({"topic": topic, "type": "greeting", "data": {"to": "you"}})
    event = page.locator("#events .event")
    await expect(event.locator(".event-id")).to_be_hidden()
    await event.get_by_role("button", name="id").click()
    await expect(event.locator(".event-id")).to_have_text(published["id"])
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
    await expect(page).to_have_url(f"{site.url}/?topic=demo.hello")
    await expect_state(page, "live")


async def test_after_a_reload_the_page_shows_the_last_events_that_are_kept(
    page: Page, site: Site
) -> None:
    topic = site.new_topic()
    await site.publish(*({"topic": topic, "data": text} for text in ("one", "two")))
    await visit(page, site.url, topic)
    await expect_data(page, "one", "two")
    await page.reload()
    await site.publish({"topic": topic, "data": "three"})
    await expect_data(page, "one", "two", "three")


async def test_yesterdays_events_have_a_date(page: Page, site: Site) -> None:
    await page.clock.install()
    topic = site.new_topic()
    await visit(page, site.url, topic)
    await site.publish({"topic": topic, "data": "late"})
    stamp = page.locator("#events time")
    await expect(stamp).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    await page.clock.fast_forward("24:00:01")
    await expect(stamp).to_have_text(re.compile(r"\d{4},? \d\d:\d\d:\d\d$"))


async def test_the_snippets_name_the_topics_that_are_served(page: Page, site: Site) -> None:
    await visit(page, site.url, "demo.a", "demo.b%27c%20d", "secret")
    query = "topic=demo.a&topic=demo.b%27c+d"
    await expect(page.locator("#snippet-curl")).to_have_text(
        f"curl -N '{site.url}/events/?{query}'"
    )
    await expect(page.locator("#snippet-js")).to_contain_text('topics: ["demo.a", "demo.b\'c d"]')
    await expect(page.locator("#snippet-publish")).to_contain_text('{"topic": "demo.a"')
    await expect(page.locator("#snippet-django")).to_contain_text('publish("demo.a"')


@pytest.mark.parametrize("topic", ["demo." + "x" * 251, "demo.*", "demo.\x07"])
async def test_a_topic_that_cannot_exist_stops_nothing_else(
    page: Page, site: Site, topic: str
) -> None:
    first = site.new_topic()
    await visit(page, site.url, first)
    await page.get_by_label("Add a topic").fill(topic)
    await page.get_by_label("Add a topic").press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("A topic ")
    await expect(page).to_have_url(f"{site.url}/?topic={first}")
    await expect_state(page, "live")
    await site.publish({"topic": first, "data": "still here"})
    await expect_data(page, "still here")
    await page.get_by_label("Add a topic").fill("demo.other")
    await page.get_by_label("Add a topic").press("Enter")
    await expect(page.get_by_role("alert")).to_be_hidden()


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


async def test_a_stream_that_was_refused_goes_on_from_the_last_cursor(
    page: Page, site: Site
) -> None:
    topic = site.new_topic()
    async with FaultyProxy.to(site.port) as proxy:
        await visit(page, proxy.url, topic)
        await site.publish({"topic": topic, "data": "before"})
        await expect_data(page, "before")
        proxy.cut(refusals=2)  # of each the page waits longer: six seconds in all, or twelve
        await site.publish(*({"topic": topic, "data": text} for text in ("one", "two")))
        async with page.expect_request(re.compile("[?&]since=1")):
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
    await expect(page.locator("#denied")).to_contain_text("You may not subscribe to 'secret'.")
    await expect(page.locator("#denied")).to_contain_text("log in")
    await page.clock.fast_forward("30:00")
    assert requested.count("/events/") == 1
    await page.get_by_role("button", name="Remove secret").click()
    await expect_state(page, "closed")


async def test_a_quiet_page_resumes_when_all_its_history_is_gone(page: Page, site: Site) -> None:
    topic = site.new_topic()
    starts = Inbox[str]()
    async with FaultyProxy.to(site.port) as proxy:
        await visit(page, proxy.url, topic)
        newest = await site.push_out_history()
        await proxy.until_passed(newest, times=2)  # by keep-alives
        page.on("request", lambda request: starts.put(start_of(request.url)))
        proxy.cut()
        await starts.until(lambda found: newest in found)
        await site.publish({"topic": topic, "data": "at last"})
        await expect_data(page, "at last")
    await expect(page.locator("#events .divider")).to_have_count(0)


def start_of(url: str) -> str:
    """The cursor at which a request for a stream begins."""
    return parse_qs(urlsplit(url).query).get("since", [""])[0]


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


@pytest.mark.parametrize("width", [360, 1280])
async def test_axe_finds_nothing(page: Page, site: Site, width: int) -> None:
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
    await page.wait_for_load_state()  # with its style
    await expect_accessible(page)


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
