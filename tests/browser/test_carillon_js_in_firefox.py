"""`carillon.js` in Firefox: ten tabs are one connection, and pages that were left hold none."""

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.browser.firefox import Firefox
from tests.browser.test_carillon_js import TABS, TOPIC, Shop, shop, until

__all__ = ["shop"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

NUMBERS = "seen.filter((each) => typeof each === 'number')"


async def open_tab(firefox: Firefox, url: str) -> int:
    tab: int = await firefox.ask(open=url)
    await until(lambda: firefox.evaluate(tab, "live.status"), lambda found: found == "live")
    return tab


async def expect(firefox: Firefox, tabs: list[int], code: str, expected: Any) -> None:
    for tab in tabs:
        await until(partial(firefox.evaluate, tab, code), lambda found: found == expected)


async def test_ten_tabs_are_one_connection_and_outlive_leader_server_redis_and_log(
    shop: Shop, firefox: Firefox
) -> None:
    tabs = [await open_tab(firefox, f"{shop.url}/shop/?topic={TOPIC}") for _ in range(TABS)]
    await shop.until_streams(1)
    await shop.publish(*range(20))
    await expect(firefox, tabs, NUMBERS, list(range(20)))
    closing = asyncio.create_task(firefox.ask(close=tabs.pop(0)))
    for first in range(20, 120, 10):
        await shop.publish(*range(first, first + 10))
    await closing
    await shop.publish(120)
    await expect(firefox, tabs, NUMBERS, list(range(121)))
    await shop.until_streams(1)
    await shop.write("a", "b")
    await shop.restart_server()
    await shop.restart_redis(meanwhile=lambda: shop.write("b", "c"))
    await shop.write("c")
    await expect(firefox, tabs, "orders", await shop.state())
    with shop.redis.client() as client:
        client.flushall()
    await shop.write("d")
    await expect(firefox, tabs, "orders", await shop.state())
    await shop.until_streams(1)


async def test_pages_that_were_left_hold_no_connection_and_are_right_at_back(
    shop: Shop, firefox: Firefox
) -> None:
    """Firefox keeps no page that has a connection or a lock: "back" loads it anew."""
    tab = await open_tab(firefox, f"{shop.url}/shop/?topic={TOPIC}&page=0")
    for number in range(1, 7):
        await firefox.go(tab, f"{shop.url}/shop/?topic={TOPIC}&page={number}")
        await expect(firefox, [tab], "live.status", "live")
    await shop.until_streams(1)
    await firefox.go(tab, f"{shop.url}/health/live")
    await shop.until_streams(0)
    await shop.write("missed")
    await firefox.evaluate(tab, "history.back()")
    await expect(firefox, [tab], "typeof live === 'object' && live.status", "live")
    await shop.until_streams(1)
    await shop.write("later")
    await expect(firefox, [tab], "orders", await shop.state())
