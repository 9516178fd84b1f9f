"""`<carillon-bell>` in Chromium: what a person sees and does, in every tab."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.bells import Bells, badge, bell, device, items, open_tab, texts
from tests.browser.test_carillon_js import until

pytestmark = pytest.mark.browser

_numbers = count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bells]:
    with ExitStack() as stack:
        yield Bells(tmp_path_factory.mktemp("bells"), stack)


@pytest.fixture
def name() -> str:
    """Somebody whom no other test knows."""
    return f"person-{next(_numbers)}"


async def test_it_shows_its_count_and_list_without_a_request_and_what_arrives_at_once(
    browser: Browser, site: Bells, name: str
) -> None:
    await site.ask(f"enter/{name}", method="GET")
    await site.notify(name, "4<2", kind="try.order", url="/health/live")
    async with device(browser, site, name) as context:
        await until_numbered(site, name, 1)
        requests: list[str] = []
        context.on("request", lambda request: requests.append(request.url))
        tab = await open_tab(context, site)
        await expect(badge(tab)).to_have_text("1")
        await expect(tab).to_have_title("(1) Shop")
        await bell(tab).click()
        await expect(texts(tab)).to_have_text(["Order 4<2 was paid"])
        assert await texts(tab).inner_html() == "Order <b>4&lt;2</b> was paid"
        assert not [url for url in requests if url.endswith("/inbox/") or "/inbox/?" in url]
        await site.notify(name, "Hello")
        await expect(texts(tab)).to_have_text(["Hello", "Order 4<2 was paid"])
        await site.expect_same(name, tab)


async def until_numbered(site: Bells, name: str, size: int) -> None:
    """Wait until the relay has published them."""
    await until(lambda: site.state(name), lambda state: len(state["list"]) == size)


async def test_opening_marks_seen_and_a_click_read_in_every_tab_and_on_every_device(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as one, device(browser, site, name) as two:
        tabs = [await open_tab(one, site), await open_tab(one, site), await open_tab(two, site)]
        first, second, other = tabs
        await site.notify(name, "One", url="/try/?opened")
        await site.notify(name, "Two")
        await site.notify(name, "Three")
        for tab in tabs:
            await expect(badge(tab)).to_have_text("3")
        await bell(first).click()
        for tab in tabs:
            await expect(badge(tab)).to_be_hidden()
            await expect(tab).to_have_title("Shop")
        await site.expect_same(name, *tabs)
        assert (await site.state(name))["counts"] == [0, 3]

        await bell(second).click()
        await items(second).filter(has_text="One").get_by_role("link").click()
        await expect(second).to_have_url(f"{site.url}/try/?opened")
        await site.expect_same(name, *tabs)
        assert (await site.state(name))["counts"] == [0, 2]

        await bell(other).click()
        await other.get_by_role("button", name="Archive: Two").click()
        await expect(texts(other)).to_have_text(["Three", "One"])
        await expect(texts(first)).to_have_text(["Three", "One"])
        await first.get_by_role("button", name="Mark all as read").click()
        await site.expect_same(name, *tabs)
        assert await site.state(name) == {
            "list": [["Three", "read"], ["One", "read"]],
            "counts": [0, 0],
        }
        await expect(first.get_by_role("button", name="Mark all as read")).to_be_hidden()


async def test_what_arrives_on_a_visible_page_is_a_toast_unless_it_is_of_low_priority(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as context:
        tab = await open_tab(context, site)
        toasts = tab.locator("carillon-bell [part=toast]")
        await site.notify(name, "Quiet", priority="low")
        await expect(badge(tab)).to_have_text("1")
        assert await toasts.count() == 0
        await site.notify(name, "Loud", priority="high", url="/try/?opened")
        await expect(toasts).to_have_text([re.compile("^Loud")])
        await site.notify(name, "Note", count=4)
        shown = [re.compile(f"^{text}") for text in ("Loud", "Note 2", "Note 3")]
        await expect(toasts).to_have_text(shown)
        announced = tab.locator("carillon-bell [role=status]")
        await expect(announced).to_have_text(re.compile(r"^\d new notifications?$"))
        await toasts.first.get_by_role("button", name="Dismiss").click()
        await expect(toasts.filter(has_text="Loud")).to_have_count(0)
        await bell(tab).click()
        await expect(toasts).to_have_count(0)
        await expect(items(tab)).to_have_count(6)


async def test_it_is_used_by_the_keyboard(browser: Browser, site: Bells, name: str) -> None:
    async with device(browser, site, name) as context:
        tab = await open_tab(context, site)
        await site.notify(name, "Note", count=3)
        await expect(badge(tab)).to_have_text("3")
        await expect(bell(tab)).to_have_accessible_name("Notifications, 3 new")
        await bell(tab).focus()
        await tab.keyboard.press("Enter")
        await expect(bell(tab)).to_have_attribute("aria-expanded", "true")
        await expect(tab.get_by_role("dialog", name="Notifications")).to_be_focused()
        await tab.keyboard.press("ArrowDown")
        await expect(items(tab).nth(0).locator("[part=link]")).to_be_focused()
        await tab.keyboard.press("End")
        await expect(items(tab).nth(2).locator("[part=link]")).to_be_focused()
        await tab.keyboard.press("ArrowUp")
        await tab.keyboard.press("Tab")
        archive = items(tab).nth(1).get_by_role("button", name="Archive")
        await expect(archive).to_be_focused()
        await tab.keyboard.press("Enter")
        await expect(texts(tab)).to_have_text(["Note 2", "Note 0"])
        await expect(archive).to_be_focused()  # the next one, which has its place now
        await tab.keyboard.press("Escape")
        await expect(bell(tab)).to_have_attribute("aria-expanded", "false")
        await expect(bell(tab)).to_be_focused()


async def test_the_list_goes_on_where_it_is_scrolled_to(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as context:
        await site.notify(name, "Note", count=45)
        await until_numbered(site, name, 45)
        tab = await open_tab(context, site)
        await bell(tab).click()
        await expect(items(tab)).to_have_count(20)
        await tab.locator("#scroll").evaluate("(list) => list.scrollTo(0, list.scrollHeight)")
        await expect(items(tab)).to_have_count(40)
        await tab.locator("#scroll").evaluate("(list) => list.scrollTo(0, list.scrollHeight)")
        await expect(items(tab)).to_have_count(45)
        await expect(tab.locator("carillon-bell [part=more]")).to_be_hidden()
        await expect(texts(tab).last).to_have_text("Note 0")


async def test_what_the_server_does_not_do_is_taken_back_and_tried_again(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as context:
        tab = await open_tab(context, site)
        await site.notify(name, "Note", count=2)
        await expect(badge(tab)).to_have_text("2")
        refused: list[str] = []

        async def refuse(route: Route) -> None:
            refused.append(route.request.url)
            await route.fulfill(status=503, content_type="application/problem+json", body="{}")

        await tab.route("**/inbox/*", refuse)
        await bell(tab).click()
        alert = tab.get_by_role("alert")
        await expect(alert).to_contain_text("That could not be saved or loaded.")
        await expect(badge(tab)).to_have_text("2")
        await tab.get_by_role("button", name="Archive: Note 1").click()
        await expect(texts(tab)).to_have_text(["Note 1", "Note 0"])
        await expect(alert).to_be_visible()
        assert {url.rpartition("/")[2] for url in refused} == {"seen", "archive"}
        await tab.unroute("**/inbox/*", refuse)
        await alert.get_by_role("button", name="Try again").click()
        await expect(texts(tab)).to_have_text(["Note 0"])
        await expect(alert).to_be_hidden()
        await site.expect_same(name, tab)


async def test_it_is_right_again_after_a_reset_and_after_an_event_without_content(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as context:
        tab = await open_tab(context, site)
        await site.notify(name, "One")
        await expect(badge(tab)).to_have_text("1")
        await tab.evaluate("window.mark = 1")
        with site.redis.client() as client:
            client.flushall()
        await site.notify(name, "Two")
        await expect(badge(tab)).to_have_text("2")
        await site.expect_same(name, tab)
        user = re.search(r"topic=(user\.\d+)", await tab.content())
        assert user
        event = {"topic": user[1], "type": "inbox.changed", "data": {"refresh": True}}
        async with tab.expect_response("**/inbox/?limit=20"):
            assert site.server.publish([event])[0] == 201
        await site.expect_same(name, tab)
        assert await tab.evaluate("window.mark") == 1


@pytest.mark.parametrize("width", [390, 1280])
async def test_axe_finds_nothing(browser: Browser, site: Bells, name: str, width: int) -> None:
    options = {"viewport": {"width": width, "height": 800}}
    async with device(browser, site, name, **options) as context:
        tab = await open_tab(context, site)
        await bell(tab).click()
        await expect(tab.get_by_text("You are all caught up")).to_be_visible()
        await expect_accessible(tab)
        await tab.keyboard.press("Escape")
        await site.notify(name, "A text that is so long that it takes more than one line", count=3)
        await expect(tab.locator("carillon-bell [part=toast]")).to_have_count(3)
        await expect_accessible(tab)
        await tab.route("**/inbox/seen", lambda route: route.fulfill(status=503))
        await bell(tab).click()
        await expect(tab.get_by_role("alert")).to_be_visible()
        await expect_accessible(tab)
        await tab.goto(f"{site.url}/inbox/page/")
        await expect(tab.get_by_role("listitem")).to_have_count(3)
        await expect_accessible(tab)
        await tab.get_by_role("link", name="Settings").click()
        await tab.get_by_role("checkbox", name="Orders: E-mail").uncheck()
        await tab.get_by_role("button", name="Save").click()
        await expect(tab.get_by_role("status")).to_have_text("Saved.")
        await expect(tab.get_by_role("checkbox", name="Orders: E-mail")).not_to_be_checked()
        await expect_accessible(tab)


async def test_it_is_german_for_a_german_browser(browser: Browser, site: Bells, name: str) -> None:
    async with device(browser, site, name, locale="de-DE") as context:
        tab = await open_tab(context, site)
        # The event has its text in the site's language, so the page fetches its own.
        await site.notify(name, "", kind="try.language")
        await expect(bell(tab)).to_have_accessible_name("Benachrichtigungen, 1 neue")
        await bell(tab).click()
        await expect(texts(tab)).to_have_text(["Archivieren"])
        await expect(items(tab).locator("time")).to_have_text("jetzt")
        await tab.get_by_role("link", name="Alle Benachrichtigungen").click()
        await expect(tab.get_by_role("heading")).to_have_text("Benachrichtigungen")
        await tab.get_by_role("button", name="Archivieren: Archivieren").click()
        await expect(tab.get_by_text("Alles gelesen.")).to_be_visible()


async def test_without_javascript_it_is_a_link_to_a_page_with_forms(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name, java_script_enabled=False) as context:
        await site.notify(name, "Note", count=23)
        await until_numbered(site, name, 23)
        tab = await context.new_page()
        await tab.goto(f"{site.url}/try/")
        await tab.get_by_role("link", name="Notifications, 23 new").click()
        await expect(tab.get_by_role("listitem")).to_have_count(20)
        await tab.get_by_role("link", name="Older").click()
        await expect(tab.get_by_role("listitem")).to_have_count(3)
        await tab.get_by_role("button", name="Archive: Note 1", exact=True).click()
        await expect(tab).to_have_url(f"{site.url}/inbox/page/")
        await tab.get_by_role("button", name="Mark as read: Note 22").click()
        await expect(tab.get_by_role("button", name="Mark as read")).to_have_count(19)
        await tab.get_by_role("button", name="Mark all as read").click()
        await expect(tab.get_by_role("button", name="Mark as read")).to_have_count(0)
        assert (await site.state(name))["counts"] == [0, 0]


@pytest.mark.parametrize("tokens", ["session", "hidden cookie"])
async def test_it_acts_where_scripts_cannot_read_the_cookie_of_the_token(
    browser: Browser, tmp_path: Path, tokens: str
) -> None:
    with ExitStack() as stack:
        site = Bells(tmp_path, stack, TOKENS=tokens)
        async with device(browser, site, "ada") as context:
            tab = await open_tab(context, site)
            await site.notify("ada", "Note")
            await expect(badge(tab)).to_have_text("1")
            await bell(tab).click()
            await tab.get_by_role("button", name="Archive: Note").click()
            await expect(tab.get_by_text("You are all caught up")).to_be_visible()
            await until(lambda: site.state("ada"), lambda state: state["list"] == [])
            await expect(tab.get_by_role("alert")).to_be_hidden()


async def test_it_outlives_a_move_in_the_page_and_another_title(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as context:
        tab = await open_tab(context, site)
        await site.notify(name, "One")
        await expect(tab).to_have_title("(1) Shop")
        await tab.evaluate("document.title = 'Orders'")
        await expect(tab).to_have_title("(1) Orders")
        await tab.evaluate("window.bell = document.querySelector('carillon-bell'); bell.remove()")
        await expect(tab).to_have_title("Orders")
        await site.notify(name, "Two")
        await until_numbered(site, name, 2)
        await tab.evaluate("document.querySelector('main').append(bell)")
        await expect(badge(tab)).to_have_text("2")
        await expect(tab).to_have_title("(2) Orders")


async def test_a_page_of_somebody_who_has_left_admits_that_nothing_comes(
    browser: Browser, site: Bells, name: str
) -> None:
    async with device(browser, site, name) as context:
        tab = await open_tab(context, site)
        await site.notify(name, "One")
        await expect(badge(tab)).to_have_text("1")
        await context.request.get(f"{site.url}/try/enter/{name}-next")
        await bell(tab).click()
        alert = tab.get_by_role("alert")
        await expect(alert).to_contain_text("No new notifications arrive on this page any more.")
        await alert.get_by_role("button", name="Reload").click()
        await expect(badge(tab)).to_be_hidden()
        await bell(tab).click()
        await expect(tab.get_by_text("You are all caught up")).to_be_visible()
