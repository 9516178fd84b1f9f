"""`carillon.js` in one Chromium: what its clock, its network, its frames and its page do to it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, BrowserContext, Dialog, Page, Request

from tests.browser.conftest import Inbox
from tests.browser.faulty_proxy import FaultyProxy
from tests.browser.test_carillon_js import (
    TOPIC,
    Shop,
    context_of,
    expect_seen,
    open_tab,
    seen,
    shop,
    until,
)
from tests.harness.servers import wait_until_ready

__all__ = ["shop"]
pytestmark = pytest.mark.browser

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2030, 1, 1, 12, 5, tzinfo=UTC)
HOLDER = "navigator.locks.query().then(({ held }) => held.map(({ clientId }) => clientId))"
UNANSWERED = """
  window.unanswered = false; // a question of this tab to the one that leads
  window.BroadcastChannel = class extends BroadcastChannel {
    constructor(name) {
      super(name);
      const answers = ["state", "block", "opened"];
      this.addEventListener("message", ({ data }) => (unanswered &&= !answers.includes(data.kind)));
    }
    postMessage(message) {
      unanswered ||= message.kind === "ping";
      super.postMessage(message);
    }
  };
"""
DATE = "new Date(Date.now() + 90_000).toUTCString()"
ONLINE = "void dispatchEvent(new Event('online'))"


async def with_clock(context: BrowserContext) -> Page:
    """A tab whose clock a test may move: each timer that is due then runs once, as after sleep."""
    tab = await context.new_page()
    await tab.clock.install(time=NOON)
    return tab


async def visit(tab: Page, origin: str, topic: str = TOPIC) -> None:
    await tab.goto(f"{origin}/shop/?topic={topic}")
    await tab.wait_for_function("window.live && live.status !== 'connecting'")


def streams_of(tab: Page) -> list[str]:
    """The URLs of its requests for streams, as they come."""
    urls: list[str] = []

    def note(request: Request) -> None:
        if "/events/?" in request.url:
            urls.append(request.url)

    tab.on("request", note)
    return urls


async def refuse(tab: Page, proxy: FaultyProxy, retry_after: str = "") -> str:
    """The connection is lost, and the next attempt, which is at once, gets a 503. Why, in words."""
    reason = lambda: tab.evaluate("live.reason")  # noqa: E731
    proxy.cut(refusals=1, retry_after=retry_after)
    await until(reason, lambda found: "connection was lost" in found)
    await tab.evaluate(ONLINE)
    return await until(reason, lambda found: "503" in found)


async def test_it_comes_back_at_the_time_of_retry_after_and_at_once_after_sleep_silence_and_online(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context, FaultyProxy.to(shop.server.port) as proxy:
        tab = await with_clock(context)
        asked = streams_of(tab)
        await visit(tab, proxy.url)
        await shop.publish(1)
        await expect_seen([tab], [1])
        # The machine slept for minutes. From here on, nothing happens by the clock alone.
        await tab.clock.pause_at(LATER)
        await until(lambda: tab.evaluate("statuses.at(-1)"), lambda found: found == "live")
        assert await tab.evaluate("statuses") == [
            "live",
            "reconnecting The stream fell silent.",
            "live",
        ]
        # The connection is open, and nothing comes any more.
        proxy.fall_silent()
        await shop.publish(2)
        await tab.clock.fast_forward(15_000)
        await expect_seen([tab], [1, 2])
        # The server names the time, which neither a network that is back nor a look shortens.
        for header, shortest, longest in (("'60'", 60, 67), (DATE, 88, 100)):
            reason = await refuse(tab, proxy, await tab.evaluate(header))
            assert shortest <= int(reason.split()[-2]) <= longest, reason
            count = len(asked)
            await tab.evaluate(ONLINE)
            await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            assert len(asked) == count
            assert await tab.evaluate("live.status") == "reconnecting"
            await tab.clock.fast_forward(longest * 1_000)
            await until(lambda: tab.evaluate("live.status"), lambda found: found == "live")
        # It slept through that time.
        await refuse(tab, proxy, "3600")
        await tab.evaluate("Date.now = ((now) => () => now() + 4_000_000)(Date.now)")
        await tab.evaluate(ONLINE)
        await until(lambda: tab.evaluate("live.status"), lambda found: found == "live")
        # Nobody named a time, and the network is back.
        await refuse(tab, proxy)
        await tab.evaluate(ONLINE)
        await shop.publish(3)
        await expect_seen([tab], [1, 2, 3])


PEERS = """(topic) => {
  window.peers = [];
  window.gate = Promise.withResolvers();
  window.join = (carillon, source, act = () => {}) => {
    const peer = { live: carillon(address, { topics: [topic] }), got: [] };
    if (source) peer.live.snapshot(source);
    peer.live.on("*", ({ data }) => (peer.got.push(data), act(peer.live)));
    peers.push(peer);
  };
  join(carillon);
  join(carillon, () => gate.promise, (live) => live.close());
  join(carillon, async () => ({ cursor: await gate.promise }));
  join(carillon, async () => {
    return new Response("{}", { headers: { "Carillon-Cursor": await gate.promise } });
  });
  const frame = document.createElement("iframe");
  frame.srcdoc = `<script type="module">
    import { carillon } from "/static/carillon/carillon.js";
    parent.join(carillon);
  </script>`;
  document.body.append(frame);
}"""
FAILING = """() => {
  join(carillon, async () => {
    if (!window.isThere) throw new Error("it is not there");
  });
  window.failing = peers.at(-1).live;
}"""
STRANGE_FRAME = """(topic) => new Promise((resolve) => {
  addEventListener("message", ({ data }) => resolve(data));
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = `<script type="module">
    import { carillon } from "${location.origin}/static/carillon/carillon.js";
    const live = carillon("${location.origin}${address}", { topics: ["${topic}"] });
    live.on("stream.status", ({ data }) => parent.postMessage(data, "*"));
  </script>`;
  document.body.append(frame);
})"""
GOT = "peers.map(({ got }) => got)"


async def test_a_deploy_shows_nothing_and_all_streams_and_frames_of_a_page_are_right(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context, FaultyProxy.to(shop.server.port) as proxy:
        tab = await open_tab(context, proxy.url)
        await tab.evaluate(PEERS, TOPIC)
        five_are_live = "peers.filter(({ live }) => live.status === 'live').length === 5"
        await tab.wait_for_function(five_are_live)
        await shop.until_streams(1)
        # The process drains, and another one serves already.
        old, shop.server = shop.server, await asyncio.to_thread(shop.start)
        await asyncio.to_thread(wait_until_ready, shop.server.port)
        proxy.upstream = shop.server.port
        await asyncio.to_thread(old.stop)
        await shop.until_streams(1)
        await shop.publish(1, 2)
        await expect_seen([tab], [1, 2])
        assert await tab.evaluate("statuses") == ["live"]
        # A state says where it was taken, in a field or a header. One handler closes its stream.
        await until(lambda: tab.evaluate(GOT), lambda got: got == [[1, 2], [], [], [], [1, 2]])
        await tab.evaluate("gate.resolve(live.cursor)")
        await shop.publish(3)
        expected = [[1, 2, 3], [1], [3], [3], [1, 2, 3]]
        await until(lambda: tab.evaluate(GOT), lambda got: got == expected)
        assert await tab.evaluate("peers[1].live.status") == "closed"
        # A state that cannot be fetched: the page is not right, although its stream is back.
        await tab.evaluate(FAILING)
        fault = "The state could not be fetched: it is not there"
        reason = lambda: tab.evaluate("failing.reason")  # noqa: E731
        await until(reason, lambda found: found == fault)
        proxy.cut()
        await until(reason, lambda found: "connection was lost" in found)
        await tab.evaluate(ONLINE)
        await shop.publish(4)
        await expect_seen([tab], [1, 2, 3, 4])
        assert await tab.evaluate("[failing.status, failing.reason]") == ["reconnecting", fault]
        await tab.evaluate("void (window.isThere = true)")
        await until(lambda: tab.evaluate("failing.status"), lambda found: found == "live")
        assert await tab.evaluate("peers.at(-1).got") == [1, 2, 3, 4]
        # A frame of no origin, which has no locks: it is refused as another site, and stays calm.
        status = await tab.evaluate(STRANGE_FRAME, TOPIC)
        assert status["status"] == "reconnecting"


async def test_the_page_of_the_readme_gets_the_events_of_its_user(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context:
        tab = await context.new_page()
        await tab.goto(f"{shop.url}/shop/enter/ada")
        mine = await tab.inner_text("body")
        await shop.publish({"text": "before"}, topic=mine)
        shown = Inbox[str]()

        async def note(dialog: Dialog) -> None:
            shown.put(dialog.message)
            await dialog.accept()

        tab.on("dialog", note)
        await tab.goto(f"{shop.url}/shop/readme")
        for topic in (mine, "demo.other"):
            await shop.publish({"text": f"of {topic}"}, topic=topic)
        await shop.publish({"text": "Paid"}, topic=mine)
        await shown.until(lambda items: len(items) == 2)
        assert shown.items == [f"of {mine}", "Paid"]


async def test_a_tab_that_is_hidden_for_long_leaves_the_leader_alone_and_a_refusal_is_no_storm(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context:
        leader = await open_tab(context, shop.url)
        hidden = await with_clock(context)
        await hidden.add_init_script(UNANSWERED)
        await visit(hidden, shop.url)
        # From now on no time passes there by itself. A tab whose timers run once a minute gets
        # the leader's answer between two of them.
        await hidden.clock.pause_at(NOON + timedelta(hours=1))
        holder = await leader.evaluate(HOLDER)
        for number in range(3):
            await until(lambda: hidden.evaluate("unanswered"), lambda found: not found)
            await hidden.clock.fast_forward(60_000)
            await shop.publish(number)
            await expect_seen([leader, hidden], list(range(number + 1)))
        assert await leader.evaluate(HOLDER) == holder
    async with context_of(browser) as context:
        # Both are refused, and one of them asks the other whether it leads, every second.
        first, second = await with_clock(context), await with_clock(context)
        asked = streams_of(first)
        for tab in (first, second):
            await visit(tab, shop.url, "user.1")
            await tab.wait_for_function("live.status === 'refused'")
        for _ in range(5):
            await second.clock.fast_forward(1_000)
            await second.evaluate(HOLDER)
            await first.clock.fast_forward(100)
        assert len(asked) <= 2
        assert await seen(first) == []
