"""Push messages in Chromium: switched on in the bell, shown, and gone when they are seen."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.bells import badge, bell, device, open_tab
from tests.browser.pushes import Browsed, PushingShop, shown, subscribe_at
from tests.browser.test_carillon_js import until
from tests.harness.push_service import PushedDevice

pytestmark = pytest.mark.browser
ON, OFF = "Notify me on this device", "Stop notifying this device"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 700}, "has_touch": True}
AFTER_AN_HOUR = 3_601
SUBSCRIBED = """navigator.serviceWorker.getRegistration("/inbox/")
  .then((worker) => worker.pushManager.getSubscription())"""
_numbers = count(1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushingShop]:
    with ExitStack() as stack:
        yield PushingShop.open(tmp_path_factory.mktemp("pushes"), stack)


@pytest.fixture
def name() -> str:
    return f"pushed-{next(_numbers)}"


@asynccontextmanager
async def subscriber(
    browser: Browser, shop: PushingShop, name: str, **options: Any
) -> AsyncIterator[tuple[BrowserContext, PushedDevice]]:
    """The browser of this person, whose pages subscribe at the push service of the test."""
    allowed = ["notifications"]
    async with device(browser, shop.site, name, permissions=allowed, **options) as context:
        pushed = shop.pushes.device()
        await subscribe_at(context, pushed)
        yield context, pushed


@asynccontextmanager
async def phone(
    browser: Browser, shop: PushingShop, name: str
) -> AsyncIterator[tuple[BrowserContext, PushedDevice]]:
    # What other tests have left is sent by now, and counts in none of this one.
    await shop.deliver(after=1_000 * AFTER_AN_HOUR)
    shop.mail.contents.clear()
    async with subscriber(browser, shop, name, **PHONE) as both:
        yield both


def switch(tab: Page) -> Any:
    return tab.locator("carillon-bell [part~=push]")


async def switch_on(tab: Page) -> None:
    await bell(tab).click()
    await expect(switch(tab)).to_have_text(ON)
    await switch(tab).click()
    await expect(switch(tab)).to_have_text(OFF)


async def expect_shown(tab: Page, *texts: str) -> None:
    """In any order, which is the browser's own."""
    await until(lambda: shown(tab), lambda found: {text for _, text, *_ in found} == {*texts})


async def test_it_is_switched_on_in_the_bell_and_off_again(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    async with phone(browser, shop, name) as (context, pushed):
        tab = await open_tab(context, shop.site)
        await switch_on(tab)
        await bell(tab).click()  # the list is closed, and shows nothing
        await shop.site.notify(name, "7", kind="try.parcel", url="/try/?parcel=7")
        assert await shop.deliver() == {"sent": 1}
        browsed = await Browsed.of(tab, pushed)
        await browsed.deliver()
        await expect_shown(tab, "Parcel 7 is here")
        [[title, _, language, address]] = await shown(tab)
        assert (title, language) == ("Parcels", "en-us")
        assert address.startswith("https://shop.example/inbox/follow/")
        # Another page of this browser is sent nothing anew, and knows.
        other = await open_tab(context, shop.site)
        await bell(other).click()
        await expect(switch(other)).to_have_text(OFF)
        await switch(other).click()
        await expect(switch(other)).to_have_text(ON)
        await expect_shown(other)
        await shop.site.notify(name, "8", kind="try.parcel")
        await shop.deliver()
        assert len(pushed.messages) == 1


async def test_what_is_seen_on_this_page_is_closed_and_what_is_news_stays(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    async with phone(browser, shop, name) as (context, pushed):
        tab = await open_tab(context, shop.site)
        await switch_on(tab)
        await bell(tab).click()  # the list is closed
        browsed = await Browsed.of(tab, pushed)
        for number in ("1", "2"):
            await shop.site.notify(name, number, kind="try.parcel")
        assert await shop.deliver() == {"sent": 2}
        await browsed.deliver()
        await expect(badge(tab)).to_have_text("2")
        await expect_shown(tab, "Parcel 1 is here", "Parcel 2 is here")
        await bell(tab).click()
        await expect_shown(tab)


async def test_another_person_at_the_same_browser_gets_none_of_them(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    async with phone(browser, shop, name) as (context, pushed):
        await switch_on(await open_tab(context, shop.site))
        await context.request.get(f"{shop.site.url}/try/enter/{name}-other")
        tab = await open_tab(context, shop.site)
        await bell(tab).click()
        await expect(switch(tab)).to_have_text(ON)
        await until(lambda: tab.evaluate(SUBSCRIBED), lambda found: not found)
        await shop.site.notify(f"{name}-other", "7", kind="try.parcel")
        await shop.deliver()
        assert pushed.messages == []


async def test_a_device_that_was_forgotten_elsewhere_shows_that_and_can_be_switched_on_again(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    async with phone(browser, shop, name) as (context, pushed):
        tab = await open_tab(context, shop.site)
        await switch_on(tab)
        await tab.goto(f"{shop.site.url}/inbox/preferences/page/")
        await tab.get_by_role("button", name="Forget").click()
        await expect(tab.get_by_role("button", name="Forget")).to_be_hidden()
        tab = await open_tab(context, shop.site)
        await until(lambda: tab.evaluate(SUBSCRIBED), lambda found: not found)
        await switch_on(tab)
        await bell(tab).click()
        await shop.site.notify(name, "7", kind="try.parcel")
        assert await shop.deliver() == {"sent": 1}
        assert len(pushed.messages) == 1


async def test_who_logs_in_again_in_the_same_tab_gets_them_again(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    async with phone(browser, shop, name) as (context, pushed):
        tab = await open_tab(context, shop.site)
        await switch_on(tab)
        await tab.goto(f"{shop.site.url}/try/leave")
        await shop.site.notify(name, "6", kind="try.parcel")
        await shop.deliver()
        assert pushed.messages == []
        await tab.goto(f"{shop.site.url}/try/enter/{name}")
        await tab.goto(f"{shop.site.url}/try/")
        await until(
            lambda: tab.evaluate("document.querySelector('carillon-bell').isConnected"), bool
        )
        await bell(tab).click()
        await expect(switch(tab)).to_have_text(OFF)
        await bell(tab).click()
        await shop.site.notify(name, "7", kind="try.parcel")
        await shop.deliver()
        assert [message["notification"]["body"] for message in pushed.messages] == [
            "Parcel 7 is here"
        ]


async def test_the_button_shows_that_the_browser_forbids_it(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    async with device(browser, shop.site, name) as context:
        await context.add_init_script("Notification.requestPermission = async () => 'denied'")
        tab = await open_tab(context, shop.site)
        await bell(tab).click()
        await switch(tab).click()
        await expect(switch(tab)).to_have_text("This browser blocks notifications of this site")


async def test_the_person_with_the_phone_in_the_pocket(
    browser: Browser, shop: PushingShop, name: str
) -> None:
    """Notified, unseen, mailed, read on the phone: then it is gone everywhere."""
    async with phone(browser, shop, name) as (context, on_phone):
        tab = await open_tab(context, shop.site)
        await switch_on(tab)
        await tab.goto(
            f"{shop.site.url}/try/whoami"
        )  # no page of the site is open on it but this text
        browsed = await Browsed.of(tab, on_phone)
        async with (
            device(browser, shop.site, name) as at_work,
            subscriber(browser, shop, name) as (at_home, on_tablet),
        ):
            laptop = await open_tab(at_work, shop.site)
            tablet = await open_tab(at_home, shop.site)
            await switch_on(tablet)
            await tablet.goto(f"{shop.site.url}/try/whoami")
            browsed_tablet = await Browsed.of(tablet, on_tablet)
            # Notified.
            await shop.site.notify(name, "7", kind="try.parcel", url="/try/?parcel=7")
            await expect(badge(laptop)).to_have_text("1")
            assert await shop.deliver() == {"sent": 1}
            for each, page in ((browsed, tab), (browsed_tablet, tablet)):
                await each.deliver()
                await expect_shown(page, "Parcel 7 is here")
            # Nobody has seen it for an hour.
            assert shop.mail.messages == []
            assert await shop.deliver(after=AFTER_AN_HOUR) == {"sent": 1}
            [message] = shop.mail.messages
            assert message["Subject"] == "Parcel 7 is here"
            # Read on the phone, by a click on what is shown there.
            [[*_, address]] = await shown(tab)
            await tab.goto(address.replace("https://shop.example", shop.site.url))
            assert tab.url == f"{shop.site.url}/try/?parcel=7"
            await expect(badge(laptop)).to_be_hidden()
            await expect(laptop).to_have_title("Shop")
            assert await shop.deliver() == {"closed": 1}
            assert on_tablet.messages[-1]["app_badge"] == 0
            for each, page in ((browsed, tab), (browsed_tablet, tablet)):
                await each.deliver()
                await expect_shown(page)
            await shop.site.expect_same(name, tab, laptop)
            # And it is not mailed or pushed any more.
            assert await shop.deliver(after=10 * AFTER_AN_HOUR) == {}
            assert len(shop.mail.messages) == 1
