"""Bells of one person in several tabs, while the server and Redis are killed: all end the same."""

import os
import random
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.browser.bells import Bells, device, open_tab, texts
from tests.browser.test_carillon_js import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

NAME = "ada"
ACTS = 120
KILLS = {30: "server", 60: "redis", 90: "server"}
"""What is killed, by the number of the act before."""

ACT = """([act, place]) => {
  const root = document.querySelector("carillon-bell").shadowRoot;
  const of = (selector) => [...root.querySelectorAll(selector)];
  const click = (found) => found.length && found[Math.floor(place * found.length)].click();
  if (act === "toggle") return click([root.querySelector("#bell")]);
  if (!root.querySelector("#panel").matches(":popover-open")) root.querySelector("#bell").click();
  const parts = { read: "link", archive: "icon-button archive", "read all": "action read-all" };
  return click(of(`#panel [part="${parts[act]}"]`));
}"""
OPEN = """() => {
  const { shadowRoot } = document.querySelector("carillon-bell");
  shadowRoot.querySelector("#panel").showPopover();
}"""
IN_TABS = ["toggle", "read", "archive", "read all"]
ON_SERVER = ["notify", "notify", "notify", "replace", "withdraw"]


async def act(choose: random.Random, site: Bells, tabs: list[Page], number: int) -> None:
    if choose.random() < 0.5:
        chosen = choose.choices(IN_TABS, [3, 4, 4, 1])[0]
        await choose.choice(tabs).evaluate(ACT, [chosen, choose.random()])
        return
    replaces = f"name-{choose.randrange(3)}"
    match choose.choice(ON_SERVER):
        case "notify":
            await site.notify(NAME, f"note {number}")
        case "replace":
            await site.notify(NAME, f"{replaces} at {number}", replaces=replaces)
        case "withdraw":
            await site.ask(f"withdraw/{NAME}", replaces=replaces)


async def test_all_tabs_and_devices_show_what_the_database_has(
    browser: Browser, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**9))
    print(f"SEED={seed}")  # noqa: T201 - to run the same again
    choose = random.Random(seed)
    with ExitStack() as stack:
        site = Bells(tmp_path, stack)
        await site.ask(f"enter/{NAME}", method="GET")
        async with device(browser, site, NAME) as one, device(browser, site, NAME) as two:
            tabs = [await open_tab(each, site) for each in (one, one, one, two)]
            for number in range(1, ACTS + 1):
                await act(choose, site, tabs, number)
                if KILLS.get(number) == "server":
                    await site.kill_server()
                elif KILLS.get(number) == "redis":
                    meanwhile = partial(act, choose, site, tabs, number)
                    await site.kill_redis(meanwhile=meanwhile)
            await expect_equal(site, tabs)


async def expect_equal(site: Bells, tabs: list[Page]) -> None:
    await site.expect_same(NAME, *tabs)
    for tab in tabs:
        await tab.bring_to_front()
        await tab.evaluate(OPEN)
    await until(lambda: site.state(NAME), lambda state: state["counts"][0] == 0)
    await site.expect_same(NAME, *tabs)
    in_database = [text for text, _ in (await site.state(NAME))["list"]]
    for tab in tabs:
        await until(texts(tab).all_text_contents, lambda shown: shown == in_database[: len(shown)])
