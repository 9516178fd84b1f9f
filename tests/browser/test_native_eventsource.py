"""What a browser's own EventSource makes of our streams, with nothing added to it."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser

from tests.browser.conftest import Inbox, Site
from tests.browser.proxy import Proxy

pytestmark = pytest.mark.browser

SUBSCRIBE = """([url, types]) => {
  const source = new EventSource(url);
  const tell = (handler) => ({ data, lastEventId }) => heard(handler, data, lastEventId);
  source.onmessage = tell("onmessage");
  for (const type of types) source.addEventListener(type, tell(type));
}"""


@dataclass(frozen=True)
class Heard:
    handler: str
    data: str
    cursor: str


async def subscribe(browser: Browser, origin: str, topic: str, *types: str) -> Inbox[Heard]:
    inbox = Inbox[Heard]()
    tab = await browser.new_page()
    await tab.goto(f"{origin}/health/live")
    await tab.expose_function("heard", lambda *what: inbox.put(Heard(*what)))
    signals = ("stream.cursor", "stream.reset", "stream.closing")
    await tab.evaluate(SUBSCRIBE, [f"{origin}/events/?topic={topic}", [*types, *signals]])
    await inbox.until(bool)
    return inbox


def data_of(heard: Iterable[Heard]) -> list[tuple[str, str]]:
    """The handlers and the data of events, without the service's own signals."""
    return [(each.handler, each.data) for each in heard if not each.handler.startswith("stream.")]


async def test_typed_events_reach_their_listener_and_the_others_onmessage(
    browser: Browser, site: Site
) -> None:
    topic = site.new_topic()
    inbox = await subscribe(browser, site.url, topic, "typed")
    published = await site.publish(
        {"topic": topic, "data": "line one\nline two"},
        {"topic": topic, "type": "typed", "data": {"n": 1}},
    )
    await inbox.until(lambda heard: len(data_of(heard)) == 2)
    assert data_of(inbox.items) == [("onmessage", "line one\nline two"), ("typed", '{"n":1}')]
    cursors = [each.cursor for each in inbox.items if not each.handler.startswith("stream.")]
    assert cursors == [event["cursor"] for event in published]


async def test_a_stream_opens_with_a_signal_that_onmessage_does_not_hear(
    browser: Browser, site: Site
) -> None:
    inbox = await subscribe(browser, site.url, site.new_topic())
    # The opening and a keep-alive.
    await inbox.until(lambda heard: len(heard) >= 2)
    assert {each.handler for each in inbox.items} == {"stream.cursor"}
    assert all(each.cursor for each in inbox.items)


async def test_it_misses_nothing_while_the_server_is_gone(browser: Browser, site: Site) -> None:
    topic = site.new_topic()
    inbox = await subscribe(browser, site.url, topic)
    await site.publish({"topic": topic, "data": "before"})
    await inbox.until(lambda heard: ("onmessage", "before") in data_of(heard))
    meanwhile = [f"meanwhile {number}" for number in range(20)]
    with site.gone():
        await site.publish(*({"topic": topic, "data": text} for text in meanwhile))
    await inbox.until(lambda heard: len(data_of(heard)) > len(meanwhile))
    assert data_of(inbox.items) == [("onmessage", text) for text in ("before", *meanwhile)]


async def test_a_quiet_one_outlives_what_is_kept(browser: Browser, site: Site) -> None:
    topic = site.new_topic()
    async with Proxy.to(site.port) as proxy:
        inbox = await subscribe(browser, proxy.url, topic)
        newest = await site.push_out_history()
        await inbox.until(lambda heard: heard[-1].cursor == newest)
        inbox.items.clear()
        proxy.cut()
        await inbox.until(bool)
        await site.publish({"topic": topic, "data": "at last"})
        await inbox.until(lambda heard: bool(data_of(heard)))
    assert inbox.items[0] == Heard("stream.cursor", "{}", newest)
    assert {each.handler for each in inbox.items} == {"stream.cursor", "onmessage"}


async def test_it_is_told_of_a_reset_in_the_stream(browser: Browser, site: Site) -> None:
    topic = site.new_topic()
    inbox = await subscribe(browser, site.url, topic)
    with site.gone():
        await site.publish({"topic": topic, "data": "lost"})
        newest = await site.push_out_history()
        inbox.items.clear()
    await inbox.until(bool)
    assert inbox.items[0] == Heard("stream.reset", '{"reason":"trimmed"}', newest)
