"""A browser's own EventSource on our streams, without any script of ours."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser

from tests.browser.conftest import Inbox, Site
from tests.browser.faulty_proxy import FaultyProxy

pytestmark = pytest.mark.browser

SUBSCRIBE = """([url, types]) => {
  const source = new EventSource(url);
  const record = (handler) => ({ data, lastEventId }) => received(handler, data, lastEventId);
  source.onmessage = record("onmessage");
  for (const type of types) source.addEventListener(type, record(type));
}"""


@dataclass(frozen=True)
class Received:
    handler: str
    data: str
    cursor: str


async def subscribe(browser: Browser, origin: str, topic: str, *types: str) -> Inbox[Received]:
    inbox = Inbox[Received]()
    tab = await browser.new_page()
    await tab.goto(f"{origin}/health/live")
    await tab.expose_function("received", lambda *arguments: inbox.put(Received(*arguments)))
    signals = ("stream.cursor", "stream.reset", "stream.closing")
    await tab.evaluate(SUBSCRIBE, [f"{origin}/events/?topic={topic}", [*types, *signals]])
    await inbox.until(bool)
    return inbox


def data_of(received: Iterable[Received]) -> list[tuple[str, str]]:
    """The handlers and the data of events, without the service's own signals."""
    return [
        (each.handler, each.data) for each in received if not each.handler.startswith("stream.")
    ]


async def test_typed_events_reach_their_listener_and_the_others_onmessage(
    browser: Browser, site: Site
) -> None:
    topic = site.new_topic()
    inbox = await subscribe(browser, site.url, topic, "typed")
    published = await site.publish(
        {"topic": topic, "data": "line one\nline two"},
        {"topic": topic, "type": "typed", "data": {"n": 1}},
    )
    await inbox.until(lambda received: len(data_of(received)) == 2)
    assert data_of(inbox.items) == [("onmessage", "line one\nline two"), ("typed", '{"n":1}')]
    cursors = [each.cursor for each in inbox.items if not each.handler.startswith("stream.")]
    assert cursors == [event["cursor"] for event in published]


async def test_a_stream_opens_with_a_signal_that_onmessage_does_not_receive(
    browser: Browser, site: Site
) -> None:
    inbox = await subscribe(browser, site.url, site.new_topic())
    # The opening and a keep-alive.
    await inbox.until(lambda received: len(received) >= 2)
    assert {each.handler for each in inbox.items} == {"stream.cursor"}
    assert all(each.cursor for each in inbox.items)


async def test_an_eventsource_misses_nothing_while_the_server_is_gone(
    browser: Browser, site: Site
) -> None:
    topic = site.new_topic()
    inbox = await subscribe(browser, site.url, topic)
    await site.publish({"topic": topic, "data": "before"})
    await inbox.until(lambda received: ("onmessage", "before") in data_of(received))
    meanwhile = [f"meanwhile {number}" for number in range(20)]
    with site.gone():
        await site.publish(*({"topic": topic, "data": text} for text in meanwhile))
    await inbox.until(lambda received: len(data_of(received)) > len(meanwhile))
    assert data_of(inbox.items) == [("onmessage", text) for text in ("before", *meanwhile)]


async def test_a_quiet_stream_resumes_when_all_its_history_is_gone(
    browser: Browser, site: Site
) -> None:
    topic = site.new_topic()
    async with FaultyProxy.to(site.port) as proxy:
        inbox = await subscribe(browser, proxy.url, topic)
        newest = await site.push_out_history()
        await inbox.until(lambda received: received[-1].cursor == newest)
        inbox.items.clear()
        proxy.cut()
        await inbox.until(bool)
        await site.publish({"topic": topic, "data": "at last"})
        await inbox.until(lambda received: bool(data_of(received)))
    assert inbox.items[0] == Received("stream.cursor", "{}", newest)
    assert {each.handler for each in inbox.items} == {"stream.cursor", "onmessage"}


async def test_an_eventsource_receives_a_reset_in_the_stream(browser: Browser, site: Site) -> None:
    topic = site.new_topic()
    inbox = await subscribe(browser, site.url, topic)
    with site.gone():
        await site.publish({"topic": topic, "data": "lost"})
        newest = await site.push_out_history()
        inbox.items.clear()
    await inbox.until(bool)
    assert inbox.items[0] == Received("stream.reset", '{"reason":"trimmed"}', newest)
