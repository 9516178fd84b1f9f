"""`.venv/bin/python -m tests.browser.story` draws `docs/phone.png`.

It is the story of `test_the_person_with_the_phone_in_the_pocket`, with what the browsers show. What
the phone shows of a push message is drawn here: it is no part of a page.
"""

import asyncio
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.async_api import Browser, FloatRect, Page, async_playwright, expect

from tests.browser.bells import badge, bell, device, open_tab
from tests.browser.conftest import ARGUMENTS
from tests.browser.pushes import PushingShop, subscribe_at
from tests.browser.test_push import switch_on
from tests.harness.servers import ROOT

NAME = "ada"
LOW: FloatRect = {"x": 0, "y": 0, "width": 390, "height": 150}
HIGH: FloatRect = {**LOW, "height": 336}
CARD = """<article><b>{title}</b><small>now</small><p>{body}</p></article>"""
PAGE = """<!doctype html><meta charset="utf-8"><title>Phone</title><style>
body {{ margin: 0; padding: 32px; width: 1216px; background: #eef3f1; color: #16201d;
  font: 16px/1.45 system-ui, sans-serif; }}
ol {{ display: grid; grid-template-columns: repeat(4, 1fr); gap: 20px; margin: 0; padding: 0;
  list-style: none; }}
h2 {{ margin: 0 0 2px; font-size: 17px; }}
time {{ color: #0b7261; font-weight: 600; }}
li > p {{ min-height: 70px; margin: 0 0 12px; color: #566560; }}
figure {{ margin: 0 0 14px; }}
figcaption {{ margin-bottom: 4px; color: #566560; font-size: 13px; }}
img, .phone {{ display: block; box-sizing: border-box; width: 100%; border: 1px solid #cfd9d5;
  border-radius: 12px; background: #fff; }}
.phone {{ height: 104px; padding: 14px; background: linear-gradient(#2b4a43, #4d7a6e); }}
article {{ padding: 10px 14px; border-radius: 12px; background: #fffffff0; font-size: 14px; }}
article p {{ margin: 2px 0 0; }}
article small {{ float: right; color: #566560; }}
</style><ol>{steps}</ol>"""
STEP = "<li><time>{time}</time><h2>{title}</h2><p>{text}</p>{figures}</li>"


def figure(caption: str, picture: bytes | str) -> str:
    if isinstance(picture, bytes):
        picture = f'<img alt="" src="data:image/png;base64,{b64encode(picture).decode()}">'
    else:
        picture = f'<div class="phone">{picture}</div>'
    return f"<figure><figcaption>{caption}</figcaption>{picture}</figure>"


async def of_top(page: Page) -> bytes:
    return await page.screenshot(clip=LOW)


async def story(browser: Browser, shop: PushingShop) -> list[dict[str, str]]:
    site = shop.site
    options: dict[str, Any] = {
        "viewport": {"width": 390, "height": 560},
        "device_scale_factor": 2,
        "reduced_motion": "reduce",
        "permissions": ["notifications"],
    }
    async with (
        device(browser, site, NAME, **options) as on_desk,
        device(browser, site, NAME, **options) as in_pocket,
    ):
        on_phone = shop.pushes.device()
        await subscribe_at(in_pocket, on_phone)
        phone = await open_tab(in_pocket, site)
        await switch_on(phone)
        await phone.goto(f"{site.url}/try/whoami")
        laptop = await open_tab(on_desk, site)
        await site.notify(NAME, "7", kind="try.parcel", url="/try/?parcel=7")
        await expect(badge(laptop)).to_have_text("1")
        await shop.deliver()
        [message] = on_phone.messages
        card = CARD.format_map(message["notification"])
        notified = await of_top(laptop)
        await shop.deliver(after=3_601)
        [sent] = shop.mail.messages
        html = sent.get_body(("html",))
        assert html
        mailbox = await on_desk.new_page()
        await mailbox.set_content(html.get_content())
        mailed = await mailbox.screenshot(clip=HIGH)
        address = message["notification"]["navigate"].replace("https://shop.example", site.url)
        await phone.goto(address)
        await bell(phone).click()
        await expect(badge(phone)).to_be_hidden()
        read = await phone.screenshot(clip=HIGH)
        await expect(badge(laptop)).to_be_hidden()
        await shop.deliver()
        assert on_phone.shown == []
        gone = await of_top(laptop)
    return [
        {
            "time": "12:00",
            "title": "Notified",
            "text": "The page that is open has it at once, the phone in the pocket a push message.",
            "figures": figure("on the laptop", notified) + figure("on the phone", card),
        },
        {
            "time": "13:00",
            "title": "Not seen for an hour",
            "text": "So it is mailed. Had she seen it on any device, it would not be.",
            "figures": figure("in the mailbox", mailed),
        },
        {
            "time": "13:10",
            "title": "Read on the phone",
            "text": "A click on the push message opens what it is about.",
            "figures": figure("on the phone", read),
        },
        {
            "time": "13:10",
            "title": "Gone everywhere",
            "text": "Badge, push messages, and whatever was still to be sent.",
            "figures": figure("on the laptop", gone) + figure("on the phone", ""),
        },
    ]


async def draw(shop: PushingShop, path: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=ARGUMENTS
        )
        steps = await story(browser, shop)
        page = await browser.new_page(viewport={"width": 1280, "height": 400})
        await page.set_content(PAGE.format(steps="".join(map(STEP.format_map, steps))))
        await page.screenshot(path=path, full_page=True)
        await browser.close()


def main() -> None:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        shop = PushingShop.open(Path(folder), stack)
        asyncio.run(draw(shop, ROOT / "docs" / "phone.png"))


if __name__ == "__main__":
    main()
