"""`<carillon-bell>` in Firefox: what arrives, what a person does, and a server that is killed."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.browser.bells import SHOWN, Bells
from tests.browser.firefox import Firefox
from tests.browser.test_carillon_js import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

CLICK = "document.querySelector('carillon-bell').shadowRoot.querySelector('{}').click()"
IS_READY = "Boolean(document.querySelector('carillon-bell')?.shadowRoot)"
LOOK = """(() => {
  const { shadowRoot } = document.querySelector("carillon-bell");
  const part = (name) => shadowRoot.querySelector(`[part~=${name}]`);
  return {
    title: document.title,
    badge: part("badge").textContent,
    texts: [...shadowRoot.querySelectorAll("#panel [part=text]")].map((each) => each.textContent),
    toasts: shadowRoot.querySelectorAll("[part=toast]").length,
    expanded: shadowRoot.querySelector("#bell").getAttribute("aria-expanded"),
    height: Math.round(part("panel").getBoundingClientRect().height) > 100,
  };
})()"""


async def open_tab(firefox: Firefox, site: Bells) -> int:
    tab: int = await firefox.ask(open=f"{site.url}/try/")
    await until(partial(firefox.evaluate, tab, IS_READY), bool)
    return tab


async def expect_same(firefox: Firefox, site: Bells, tabs: list[int]) -> None:
    state = await site.state("ada")
    for tab in tabs:
        await until(partial(firefox.evaluate, tab, f"({SHOWN})()"), lambda shown: shown == state)


async def test_what_arrives_is_shown_and_what_a_person_does_is_the_same_in_all_tabs(
    firefox: Firefox, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        site = Bells(tmp_path, stack)
        await firefox.ask(open=f"{site.url}/try/enter/ada")
        tabs = [await open_tab(firefox, site) for _ in range(3)]
        await site.notify("ada", "One")
        await site.notify("ada", "Two")
        await until(lambda: site.state("ada"), lambda state: state["counts"] == [2, 2])
        await expect_same(firefox, site, tabs)
        look = await firefox.evaluate(tabs[-1], LOOK)
        assert (look["title"], look["badge"], look["expanded"]) == ("(2) Shop", "2", "false")

        await firefox.evaluate(tabs[-1], CLICK.format("#bell"))
        await until(lambda: site.state("ada"), lambda state: state["counts"] == [0, 2])
        await expect_same(firefox, site, tabs)
        look = await firefox.evaluate(tabs[-1], LOOK)
        assert look == {
            "title": "Shop",
            "badge": "",
            "texts": ["Two", "One"],
            "toasts": 0,
            "expanded": "true",
            "height": True,
        }

        await firefox.evaluate(tabs[-1], CLICK.format("[part~=archive]"))
        await until(lambda: site.state("ada"), lambda state: state["counts"] == [0, 1])
        await expect_same(firefox, site, tabs)
        await site.kill_server()
        await site.notify("ada", "Three")
        await until(lambda: site.state("ada"), lambda state: len(state["list"]) == 2)
        await until(
            partial(firefox.evaluate, tabs[-1], LOOK),
            lambda look: look["texts"] == ["Three", "One"],
        )
        await until(lambda: site.state("ada"), lambda state: state["counts"] == [0, 2])
        await expect_same(firefox, site, tabs)
