"""A browser's WebSocket, by the code of the documentation."""

import re

import pytest
from playwright.async_api import Browser

from tests.browser.conftest import Inbox, Site
from tests.harness.servers import ROOT

pytestmark = pytest.mark.browser

[EXAMPLE] = re.findall(
    r"```js\n(// a page of your site.*?)```", (ROOT / "docs/websocket.md").read_text(), re.DOTALL
)


async def open_page(browser: Browser, site: Site, *topics: str) -> Inbox[tuple[str, str]]:
    """A page that runs the example; the calls of its functions `show` and `refetch`."""
    shown = Inbox[tuple[str, str]]()
    tab = await browser.new_page()
    await tab.goto(f"{site.url}/health/live")
    await tab.expose_function("show", lambda event: shown.put(("event", event["data"])))
    await tab.expose_function("refetch", lambda: shown.put(("reset", "")))
    await tab.expose_function("note", lambda type: shown.put((type, "")))
    example = EXAMPLE.replace('["news"]', str(list(topics)).replace("'", '"'))
    assert example != EXAMPLE
    watching = "socket.addEventListener('message', ({data}) => { for (const {type} of JSON.parse"
    watching += "(data).messages) if (type === 'subscribed') note(type); });"
    await tab.evaluate(
        f"() => {{ {example.replace('socket.onopen', watching + 'socket.onopen')} }}"
    )
    await shown.until(lambda calls: ("subscribed", "") in calls)
    return shown


async def test_the_documented_code_receives_published_events(browser: Browser, site: Site) -> None:
    topic = site.new_topic()
    shown = await open_page(browser, site, topic)
    await site.publish(*({"topic": topic, "data": str(number)} for number in range(20)))
    await shown.until(lambda calls: ("event", "19") in calls)
    assert shown.items[1:] == [("event", str(number)) for number in range(20)]


async def test_the_documented_code_misses_nothing_while_the_server_is_gone(
    browser: Browser, site: Site
) -> None:
    topic = site.new_topic()
    shown = await open_page(browser, site, topic)
    await site.publish({"topic": topic, "data": "before"})
    await shown.until(lambda calls: ("event", "before") in calls)
    with site.gone():
        await site.publish({"topic": topic, "data": "meanwhile"})
    await shown.until(lambda calls: ("event", "meanwhile") in calls)
    events = [data for type, data in shown.items if type == "event"]
    assert events == ["before", "meanwhile"]
    assert ("reset", "") not in shown.items
