"""`carillon.js` in Firefox: ten tabs are one connection, and pages that were left hold none."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import DEADLINE_SECONDS
from tests.browser.test_carillon_js import TABS, TOPIC, Shop, shop, until
from tests.harness.npm import npm_packages
from tests.harness.servers import binary

__all__ = ["shop"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

SCRIPT = Path(__file__).with_name("firefox.mjs")
NUMBERS = "seen.filter((each) => typeof each === 'number')"


class Firefox:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def ask(self, **command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        async with self._turn, asyncio.timeout(DEADLINE_SECONDS):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            answer = json.loads(await self._process.stdout.readline())
        assert "error" not in answer, answer
        return answer["result"]

    async def open(self, url: str) -> int:
        tab: int = await self.ask(open=url)
        await until(lambda: self.evaluate(tab, "live.status"), lambda found: found == "live")
        return tab

    async def go(self, tab: int, url: str) -> None:
        """Leave the page of this tab for another one."""
        assert await self.ask(go=url, tab=tab) == 200

    async def evaluate(self, tab: int, code: str) -> Any:
        return await self.ask(tab=tab, evaluate=code)

    async def expect(self, tabs: list[int], code: str, expected: Any) -> None:
        for tab in tabs:
            await until(partial(self.evaluate, tab, code), lambda found: found == expected)


@asynccontextmanager
async def firefox(home: Path) -> AsyncIterator[Firefox]:
    process = await asyncio.create_subprocess_exec(
        *(binary("node"), str(SCRIPT), binary("firefox")),
        cwd=npm_packages().parent,
        env={**os.environ, "HOME": str(home)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        assert process.stdout
        async with asyncio.timeout(4 * DEADLINE_SECONDS):
            assert await process.stdout.readline() == b"started\n"
        yield Firefox(process)
    finally:
        assert process.stdin
        process.stdin.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await process.wait()


async def test_ten_tabs_are_one_connection_and_outlive_leader_server_redis_and_log(
    shop: Shop, tmp_path: Path
) -> None:
    async with firefox(tmp_path) as browser:
        tabs = [await browser.open(f"{shop.url}/shop/?topic={TOPIC}") for _ in range(TABS)]
        await shop.until_streams(1)
        await shop.publish(*range(20))
        await browser.expect(tabs, NUMBERS, list(range(20)))
        closing = asyncio.create_task(browser.ask(close=tabs.pop(0)))
        for first in range(20, 120, 10):
            await shop.publish(*range(first, first + 10))
        await closing
        await shop.publish(120)
        await browser.expect(tabs, NUMBERS, list(range(121)))
        await shop.until_streams(1)
        await shop.write("a", "b")
        await shop.restart_server()
        await shop.restart_redis(meanwhile=lambda: shop.write("b", "c"))
        await shop.write("c")
        await browser.expect(tabs, "orders", await shop.state())
        with shop.redis.client() as client:
            client.flushall()
        await shop.write("d")
        await browser.expect(tabs, "orders", await shop.state())
        await shop.until_streams(1)


async def test_pages_that_were_left_hold_no_connection_and_are_right_at_back(
    shop: Shop, tmp_path: Path
) -> None:
    """Firefox keeps no page that has a connection or a lock: "back" loads it anew."""
    async with firefox(tmp_path) as browser:
        tab = await browser.open(f"{shop.url}/shop/?topic={TOPIC}&page=0")
        for number in range(1, 7):
            await browser.go(tab, f"{shop.url}/shop/?topic={TOPIC}&page={number}")
            await browser.expect([tab], "live.status", "live")
        await shop.until_streams(1)
        await browser.go(tab, f"{shop.url}/health/live")
        await shop.until_streams(0)
        await shop.write("missed")
        await browser.evaluate(tab, "history.back()")
        await browser.expect([tab], "typeof live === 'object' && live.status", "live")
        await shop.until_streams(1)
        await shop.write("later")
        await browser.expect([tab], "orders", await shop.state())
