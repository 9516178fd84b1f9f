"""`./run` on a fresh checkout: two people in two browsers, and one notifies the other."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.harness.manage import carillon_process

pytestmark = pytest.mark.browser


async def log_in(browser: Browser, address: str, name: str, password: str) -> Page:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(address)
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()
    await page.locator("#bell").wait_for()
    return page


async def test_one_sends_a_notification_and_the_bell_of_the_other_shows_it(
    browser: Browser, development: dict[str, str]
) -> None:
    with carillon_process("dev", environment=development) as dev:
        password = dev.wait_for(r"sign in .* password (\S+)")
        address = re.search(r"sign in  (\S+) as", dev.output)
        assert address
        sender = await log_in(browser, address[1], "admin", password)
        recipient = await log_in(browser, address[1], "guest", password)
        await sender.get_by_label("To", exact=True).select_option("guest")
        await sender.get_by_label("Text", exact=True).fill("Is <b>this</b> live?")
        await sender.get_by_role("button", name="Send", exact=True).click()
        await expect(sender.locator("#send-result")).to_contain_text("Sent")
        await expect(recipient.locator("#bell")).to_have_accessible_name("Notifications, 1 new")
        await expect(recipient.locator("[part=toast]")).to_contain_text(
            "admin: Is <b>this</b> live?"
        )
        await expect(recipient).to_have_title("(1) Carillon")
        await expect(sender.locator("#bell")).to_have_accessible_name("Notifications")
