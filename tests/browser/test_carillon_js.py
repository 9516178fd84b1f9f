"""`carillon.js` in Chromium: one connection for all tabs, and no event missed or shown twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Error, Page

from tests.browser.conftest import DEADLINE_SECONDS
from tests.browser.faulty_proxy import FaultyProxy
from tests.harness.servers import RedisServer, WebServer, migrate, redis_server, uvicorn

pytestmark = pytest.mark.browser

TOPIC = "demo.shop"
TABS = 10
MANY = 1_000
KEY = "a-key-that-reads-metrics"
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.harness.shop_settings",
    "DEBUG": "1",
    "CARILLON_KEEPALIVE": "1",
    "CARILLON_OUTBOX": "in-process",
    "CARILLON_METRICS_KEYS": KEY,
}


class Shop:
    """The site, whose server and Redis a test may kill, and what its database says."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.redis: RedisServer = stack.enter_context(redis_server(folder / "redis"))
        migrate(folder)
        self.server = self.start()

    def start(self, port: int = 0) -> WebServer:
        return self._stack.enter_context(
            uvicorn(self.redis.url, self._folder, port=port, **SETTINGS)
        )

    @property
    def url(self) -> str:
        return self.server.url

    async def restart_server(self) -> None:
        await asyncio.to_thread(self.server.stop)
        self.server = await asyncio.to_thread(self.start, self.server.port)

    async def restart_redis(self, *, meanwhile: Callable[[], Awaitable[object]]) -> None:
        port = self.redis.port
        self.redis.kill()
        await meanwhile()
        starting = redis_server(self._folder / "redis", port=port)
        self.redis = await asyncio.to_thread(self._stack.enter_context, starting)

    async def write(self, *keys: str) -> None:
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
            url = f"{self.url}/shop/write"
            answer = await client.post(url, params=[("key", key) for key in keys])
            assert answer.status_code == 200

    async def state(self) -> dict[str, int]:
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
            orders = (await client.get(f"{self.url}/shop/state")).json()["orders"]
        return {order["key"]: order["version"] for order in orders}

    async def publish(self, *data: Any, topic: str = TOPIC) -> None:
        events = [{"topic": topic, "data": each} for each in data]
        status, answer = await asyncio.to_thread(self.server.publish, events)
        assert status == 201, answer

    async def streams(self) -> int:
        """The open streams, as the server counts them."""
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
            headers = {"Authorization": f"Bearer {KEY}"}
            text = (await client.get(f"{self.url}/metrics", headers=headers)).text
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith(("carillon_streams ", "carillon_streams{"))
        )

    async def until_streams(self, number: int) -> None:
        await until(lambda: self.streams(), lambda found: found == number)


async def until[T](read: Callable[[], Awaitable[T]], accept: Callable[[T], bool]) -> T:
    """The first acceptable answer. It fails with the last one at the deadline.

    The longer it waits, the more seldom it asks: that takes a browser and a server some work.
    """
    found, pause = await read(), 0.05
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not accept(found):
                await asyncio.sleep(pause)
                found, pause = await read(), min(1.5 * pause, 0.5)
    except TimeoutError:
        pytest.fail(f"last: {found}")
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path_factory.mktemp("shop"), stack)


@asynccontextmanager
async def context_of(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A profile of its own, in which no script fails."""
    faults: list[str] = []
    context = await browser.new_context()
    context.on("weberror", lambda error: faults.append(str(error.error)))
    yield context
    await context.close()
    assert not faults


async def open_tab(
    context: BrowserContext, origin: str, *topics: str, options: str = "", live: bool = True
) -> Page:
    tab = await context.new_page()
    query = "&".join(f"topic={topic}" for topic in topics or (TOPIC,))
    await tab.goto(f"{origin}/shop/?{query}{options}")
    if live:
        await tab.wait_for_function("live.status === 'live'")
    return tab


async def seen(tab: Page) -> list[Any]:
    found: list[Any] = await tab.evaluate("seen.filter((each) => typeof each === 'number')")
    return found


async def expect_seen(tabs: list[Page], numbers: list[int]) -> None:
    """Each tab has exactly these, in this order."""
    for tab in tabs:
        found = await until(partial(seen, tab), lambda found: len(found) >= len(numbers))
        assert found == numbers


async def expect_right(shop: Shop, tabs: list[Page]) -> None:
    """What each tab shows is what is in the database."""
    expected = await shop.state()
    for tab in tabs:
        await until(partial(tab.evaluate, "orders"), lambda found: found == expected)


@pytest.mark.timeout(400)
async def test_ten_tabs_are_one_connection_and_outlive_leader_server_redis_and_log(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context:
        tabs = [await open_tab(context, shop.url) for _ in range(TABS)]
        await shop.until_streams(1)
        await shop.publish(*range(20))
        await expect_seen(tabs, list(range(20)))
        # The first tab leads. It crashes under load.
        leader, *tabs = tabs
        crashing = asyncio.create_task(crash(leader))
        for first in range(20, 120, 10):
            await shop.publish(*range(first, first + 10))
        await crashing
        await shop.publish(*range(120, 125))
        await expect_seen(tabs, list(range(125)))
        await shop.until_streams(1)
        # The leader is closed in good order.
        await tabs.pop(0).close()
        await shop.publish(125)
        await expect_seen(tabs, list(range(126)))

        await shop.write("a", "b")
        await expect_right(shop, tabs)
        await shop.restart_server()
        await shop.write("a")
        await expect_right(shop, tabs)
        await shop.restart_redis(meanwhile=lambda: shop.write("b", "c"))
        await shop.write("c")
        await expect_right(shop, tabs)
        with shop.redis.client() as client:
            client.flushall()
        await shop.write("d")
        await expect_right(shop, tabs)
        await shop.until_streams(1)
        assert await tabs[0].evaluate("performance.getEntriesByType('navigation').length") == 1


async def crash(tab: Page) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        crashed = asyncio.Event()
        tab.on("crash", lambda _: crashed.set())
        devtools = await tab.context.new_cdp_session(tab)
        crashing = asyncio.ensure_future(devtools.send("Page.crash"))
        await crashed.wait()
        crashing.cancel()


async def test_a_leader_that_is_frozen_is_deposed_and_tabs_share_their_topics(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context:
        leader = await open_tab(context, shop.url)
        devtools = await context.new_cdp_session(leader)
        follower = await open_tab(context, shop.url, "demo.other")
        assert await follower.evaluate("statuses") == ["live"]
        await shop.until_streams(1)
        await shop.publish(1)
        await shop.publish(2, topic="demo.other")
        await expect_seen([leader], [1])
        await expect_seen([follower], [2])
        # It is frozen as a tab in the background is, without a word.
        await devtools.send("Debugger.enable")
        await devtools.send("Debugger.pause")
        spinning = asyncio.ensure_future(leader.evaluate("seen.push(0)"))
        await shop.publish(3)
        await shop.publish(4, topic="demo.other")
        await expect_seen([follower], [2, 4])
        late = await open_tab(context, shop.url, TOPIC, "demo.other")
        # What is published while the tab fetches its state may be in that state, and then does not
        # come as an event.
        await until(lambda: shop_publishes(shop, late, TOPIC), lambda found: "third" in found)
        await shop.publish(5)
        await expect_seen([late], [5])
        await devtools.send("Debugger.resume")
        await devtools.send("Debugger.disable")
        await spinning
        await shop.publish(6)
        await shop.until_streams(1)
        assert await until(lambda: seen(leader), lambda found: 6 in found)
        assert [n for n in await seen(leader) if n] == [1, 3, 5, 6]
        await late.evaluate("live.topics([], ['demo.other'])")
        third = "demo.third"
        await follower.evaluate(f"live.topics(['{third}'], ['demo.other'])")
        await until(lambda: shop_publishes(shop, follower, third), lambda found: "third" in found)


async def shop_publishes(shop: Shop, tab: Page, topic: str) -> list[Any]:
    await shop.publish("third", topic=topic)
    found: list[Any] = await tab.evaluate("seen")
    return found


async def mark_of(tab: Page) -> int | None:
    try:
        mark: int | None = await tab.evaluate("window.mark")
    except Error:  # the tab is on its way
        return None
    return mark


async def test_pages_that_are_kept_for_back_hold_no_connection_and_miss_nothing(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context:
        tab = await context.new_page()
        for number in range(7):
            await tab.goto(f"{shop.url}/shop/?topic={TOPIC}&page={number}")
            await tab.wait_for_function("live.status === 'live'")
        await tab.evaluate("window.mark = 1")
        await tab.goto(f"{shop.url}/health/live")
        await shop.until_streams(0)
        await shop.publish(1)
        await tab.evaluate("history.back()")
        await until(partial(mark_of, tab), lambda found: found == 1)
        await expect_seen([tab], [1])
        await shop.until_streams(1)


async def test_a_page_shows_nothing_of_another_user_and_nothing_after_a_logout(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context:
        visitor = await context.new_page()
        await visitor.goto(f"{shop.url}/shop/enter/ada")
        mine = await visitor.inner_text("body")
        tabs = [await open_tab(context, shop.url, mine) for _ in range(3)]
        await shop.until_streams(1)
        await shop.publish(1, topic=mine)
        await expect_seen(tabs, [1])
        await visitor.goto(f"{shop.url}/shop/enter/eve")
        for tab in tabs:
            await tab.wait_for_function("live.status === 'refused'")
            assert "made for another user" in await tab.evaluate("live.reason")
        theirs = await visitor.inner_text("body")
        other = await open_tab(context, shop.url, theirs)
        await shop.publish(2, topic=theirs)
        await expect_seen([other], [2])
        await expect_seen(tabs, [1])
        await context.clear_cookies()
        late = await open_tab(context, shop.url, theirs, live=False)
        await late.wait_for_function("live.status === 'refused'")


async def test_it_comes_back_by_its_cursor_after_503_and_so_does_the_drop_in(
    browser: Browser, shop: Shop
) -> None:
    async with context_of(browser) as context, FaultyProxy.to(shop.server.port) as proxy:
        tab = await open_tab(context, proxy.url)
        await tab.evaluate(
            """(topic) => {
              Object.assign(window, { got: [], errors: 0 });
              const source = new ResumingEventSource(`/events/?topic=${topic}`);
              source.onmessage = ({ data }) => got.push(Number(data));
              source.onerror = () => (errors += 1);
              return new Promise((resolve) => (source.onopen = () => resolve(source.readyState)));
            }""",
            TOPIC,
        )
        await shop.publish(1)
        await expect_seen([tab], [1])
        proxy.cut(refusals=MANY)
        await shop.publish(2, 3)
        statuses = lambda: tab.evaluate("statuses.join()")  # noqa: E731
        await until(statuses, lambda found: "503" in found)
        # Its first error is that the connection was lost, and the second one that it was refused.
        await until(lambda: tab.evaluate("errors"), lambda found: found >= 2)
        proxy.refusals = 0
        await expect_seen([tab], [1, 2, 3])
        got = lambda: tab.evaluate("got")  # noqa: E731
        assert await until(got, lambda found: len(found) > 2) == [1, 2, 3]


async def test_what_the_page_shows_already_is_not_shown_twice(browser: Browser, shop: Shop) -> None:
    await shop.write("z")
    async with context_of(browser) as context:
        tab = await open_tab(context, shop.url, options="&rendered")
        await tab.evaluate(
            "window.shown = []; live.on('order', ({data}) => shown.push(data.version))"
        )
        state = await shop.state()
        for version in (state["z"], state["z"] + 1, state["z"], state["z"] + 2):
            await shop.publish({"key": "z", "version": version})
        await shop.publish(1)
        await expect_seen([tab], [1])
        found = await tab.evaluate(
            "seen.filter((each) => each.key === 'z').map((each) => each.version)"
        )
        assert found == [state["z"] + 1, state["z"] + 2]
