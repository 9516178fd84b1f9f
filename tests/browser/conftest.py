"""A real Chromium before two real Daphne processes on their own Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Playwright,
    async_playwright,
    expect,
)

from tests.browser.firefox import Firefox
from tests.harness.changes import Changes
from tests.harness.servers import WebServer, binary, daphne, manage, migrate, redis_server

# For each window Chromium prepares what its address bar would show, in a process of its own. That
# takes as much CPU as the rest of most tests, and no test types an address. Chromium obeys only the
# last of such arguments, so the names that Playwright switches off are here too.
SWITCHED_OFF = [
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
]
ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(SWITCHED_OFF)}",
]
DEADLINE_SECONDS = 60.0
"""A browser waits up to five seconds before it comes back, and the page up to four more."""

HISTORY_EVENTS = 50
SETTINGS = {
    "DEBUG": "1",  # without it, static files would have to be collected first
    "CARILLON_HISTORY_EVENTS": str(HISTORY_EVENTS),
    "CARILLON_KEEPALIVE": "0.5",
}
LIBRARIES = {"DJANGO_SETTINGS_MODULE": "tests.harness.library_settings"}
PASSWORD = "a-password-for-the-tests"
PUBLISHER, READER = "ada", "eve"
MAKE_USERS = f"""
from django.contrib.auth.models import User
User.objects.create_superuser({PUBLISHER!r}, password={PASSWORD!r})
User.objects.create_user({READER!r}, password={PASSWORD!r}, is_staff=True)
"""

expect.set_options(timeout=DEADLINE_SECONDS * 1000)


class Site:
    """One process that browsers use and a test may kill, and another one to publish through."""

    static: Path
    """A folder of static files, besides those of the project."""

    def __init__(self, start: Callable[[int], WebServer], manage: Callable[..., str]) -> None:
        self._start = start
        self._manage = manage
        self._visible, self._other = start(0), start(0)
        self._numbers = count(1)

    @property
    def url(self) -> str:
        return self._visible.url

    @property
    def port(self) -> int:
        return self._visible.port

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Meanwhile, the process that browsers use is killed."""
        self._visible.kill()
        try:
            yield
        finally:
            self._visible = self._start(self._visible.port)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Meanwhile, connections stay open and nothing comes."""
        self._visible.pause()
        try:
            yield
        finally:
            self._visible.resume()

    def new_topic(self) -> str:
        return f"demo.topic-{next(self._numbers)}"

    async def publish(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        status, answer = await asyncio.to_thread(self._other.publish, list(events))
        assert status == 201, answer
        published: list[dict[str, Any]] = answer["events"]
        return published

    async def end_streams(self, topic: str) -> None:
        """End all streams of this topic, in good order. Their clients may come back."""
        await asyncio.to_thread(self._manage, "carillon", "kick", "--topic", topic)

    async def push_out_history(self) -> str:
        """Publish so many foreign events that no other is kept; return the cursor of the newest."""
        noise = {"topic": "demo.noise", "data": "noise"}
        published = await self.publish(*(noise for _ in range(3 * HISTORY_EVENTS)))
        cursor: str = published[-1]["cursor"]
        return cursor


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        migrate(folder)
        run = partial(manage, redis_url=redis.url, folder=folder)
        run("shell", "-c", MAKE_USERS)
        static = tmp_path_factory.mktemp("static")
        settings = {**SETTINGS, **LIBRARIES, "LIBRARIES": str(static)}
        made = Site(
            lambda port: stack.enter_context(daphne(redis.url, folder, port=port, **settings)), run
        )
        made.static = static
        yield made


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests that share a browser share its event loop."""
    if {"browser", "firefox"} & {*getattr(item, "fixturenames", ())}:
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browsers() -> list[Browser]:
    """The Chromium of all tests, and those before it that have ended."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def browser(playwright: Playwright, browsers: list[Browser]) -> AsyncIterator[Browser]:
    """A Chromium without any tab. To start one takes longer than most tests."""
    if not browsers or not browsers[-1].is_connected():
        started = await playwright.chromium.launch(
            executable_path=binary("chromium"),
            args=ARGUMENTS,
            # Playwright switches the back/forward cache off, which people have.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        browsers.append(started)
    yield browsers[-1]
    for context in browsers[-1].contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab in which no script may fail or violate the Content-Security-Policy."""
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            faults.append(message.text)

    context = await browser.new_context()
    tab = await context.new_page()
    tab.on("console", note)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    yield tab
    await context.close()
    assert not faults


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def firefoxes() -> AsyncIterator[list[Firefox]]:
    """The Firefox of all tests, and those before it that did not answer."""
    started: list[Firefox] = []
    yield started
    for each in started:
        await each.end()


@pytest_asyncio.fixture(loop_scope="session")
async def firefox(
    firefoxes: list[Firefox], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Firefox]:
    """A Firefox without any tab or cookie. To start one takes longer than most tests."""
    if not firefoxes or not firefoxes[-1].answers:
        firefoxes.append(await Firefox.start(tmp_path_factory.mktemp("firefox")))
    yield firefoxes[-1]
    if firefoxes[-1].answers:
        await firefoxes[-1].ask(leave=True)


class Inbox[T]:
    """The items that have arrived so far, for tests that wait for more."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._changes = Changes()

    def put(self, item: T) -> None:
        self.items.append(item)
        self._changes.notify()

    async def until(
        self, condition: Callable[[list[T]], bool], *, seconds: float = DEADLINE_SECONDS
    ) -> None:
        async with asyncio.timeout(seconds):
            await self._changes.until(lambda: condition(self.items))
