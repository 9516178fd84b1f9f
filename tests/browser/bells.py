"""The bell in tabs of a browser, before a real server, Redis and relay that a test may kill."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, BrowserContext, Locator, Page

from tests.browser.conftest import DEADLINE_SECONDS
from tests.browser.test_carillon_js import until
from tests.harness.servers import RedisServer, WebServer, migrate, redis_server, uvicorn

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.harness.inbox_settings",
    "DEBUG": "1",
    "CARILLON_KEEPALIVE": "1",
    "CARILLON_OUTBOX_POLL": "0.1",
}
SHOWN = """() => {
  const bell = document.querySelector("carillon-bell");
  const list = bell.notifications.map(({ text, state }) => [text, state]);
  return { list, counts: [bell.counts.unseen, bell.counts.unread] };
}"""


class Bells:
    """The site of `inbox_site`."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self._settings = {**SETTINGS, **settings}
        self._folder, self._stack = folder, stack
        self.redis: RedisServer = stack.enter_context(redis_server(folder / "redis"))
        migrate(folder)
        self.server = self._start()

    def _start(self, port: int = 0) -> WebServer:
        return self._stack.enter_context(
            uvicorn(self.redis.url, self._folder, port=port, **self._settings)
        )

    @property
    def url(self) -> str:
        return self.server.url

    async def kill_server(self) -> None:
        self.server.kill()
        self.server = await asyncio.to_thread(self._start, self.server.port)

    async def kill_redis(self, *, meanwhile: Callable[[], Awaitable[object]]) -> None:
        port = self.redis.port
        self.redis.kill()
        await meanwhile()
        starting = redis_server(self._folder / "redis", port=port)
        self.redis = await asyncio.to_thread(self._stack.enter_context, starting)

    async def ask(self, address: str, *, method: str = "POST", **parameters: Any) -> httpx.Response:
        """The answer of the server, which may just be starting again."""
        async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
            answer = await client.request(method, f"{self.url}/try/{address}", params=parameters)
        assert answer.is_success, answer.text
        return answer

    async def notify(self, name: str, text: str, **parameters: Any) -> None:
        await self.ask(f"notify/{name}", text=text, **parameters)

    async def state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = (await self.ask(f"state/{name}", method="GET")).json()
        return state

    async def expect_same(self, name: str, *tabs: Page) -> None:
        """All tabs show what the database says."""
        for tab in tabs:

            async def differs(tab: Page = tab) -> tuple[Any, Any]:
                return await tab.evaluate(SHOWN), await self.state(name)

            await until(differs, lambda both: both[0] == both[1])


@asynccontextmanager
async def device(
    browser: Browser, site: Bells, name: str, **options: Any
) -> AsyncIterator[BrowserContext]:
    """A profile of its own, in which this person is logged in and no script fails."""
    faults: list[str] = []
    context = await browser.new_context(**options)
    context.on("weberror", lambda error: faults.append(str(error.error)))

    def note(message: Any) -> None:
        if "Content Security Policy" in message.text:
            faults.append(message.text)

    context.on("console", note)
    await context.request.get(f"{site.url}/try/enter/{name}")
    yield context
    await context.close()
    assert faults == []


async def open_tab(context: BrowserContext, site: Bells, query: str = "", *, url: str = "") -> Page:
    tab = await context.new_page()
    await tab.goto(f"{url or site.url}/try/{query}")
    await tab.locator("carillon-bell #bell").wait_for()
    return tab


def bell(tab: Page) -> Locator:
    return tab.locator("#bell")


def items(tab: Page) -> Locator:
    return tab.locator("carillon-bell [part~=item]")


def texts(tab: Page) -> Locator:
    return tab.locator("carillon-bell [part~=item] [part=text]")


def badge(tab: Page) -> Locator:
    return tab.locator("carillon-bell [part=badge]")
