"""An event that a view published, in a browser, under whatever serves the site."""

import time
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Dialog

from tests.browser.conftest import Inbox
from tests.harness.servers import RedisServer
from tests.install import example
from tests.install.serving import COMMANDS, routed_aside, served, wsgi
from tests.install.site import Site

pytestmark = [pytest.mark.install, pytest.mark.browser, pytest.mark.timeout(400)]


@pytest.fixture(scope="session")
def session_key(site: Site) -> str:
    """Of a user who is logged in."""
    return site.manage("shell", "-v0", "-c", example.MAKE_USER).split()[-1]


async def hears_what_a_view_publishes(browser: Browser, url: str, session_key: str) -> None:
    heard: Inbox[str] = Inbox()

    async def note(dialog: Dialog) -> None:
        heard.put(dialog.message)
        await dialog.dismiss()

    context = await browser.new_context()
    await context.add_cookies([{"name": "sessionid", "value": session_key, "url": url}])
    page = await context.new_page()
    page.on("dialog", note)
    async with page.expect_response("**/events/") as opening:
        await page.goto(url)
    response = await opening.value
    assert response.status == 200
    assert await page.title() == "My site"
    assert (await page.request.get(f"{url}/pay/")).ok
    await heard.until(lambda messages: bool(messages))
    assert heard.items == ["Paid"]
    await context.close()


@pytest.mark.parametrize("by", COMMANDS)
async def test_a_page_hears_what_a_view_publishes_under(
    by: str,
    site: Site,
    site_redis: RedisServer,
    session_key: str,
    browser: Browser,
    tmp_path: Path,
) -> None:
    with served(site, by, tmp_path) as server:
        await hears_what_a_view_publishes(browser, f"http://127.0.0.1:{server.port}", session_key)
    assert "Traceback" not in server.log.read_text()


async def test_djangos_own_handler_serves_too(
    site: Site, site_redis: RedisServer, session_key: str, browser: Browser, tmp_path: Path
) -> None:
    with served(site, "runserver", tmp_path, **site.stay_stock()) as server:
        await hears_what_a_view_publishes(browser, f"http://127.0.0.1:{server.port}", session_key)
    assert "(carillon.W001)" in server.log.read_text()


async def test_runserver_needs_no_redis_and_says_what_that_means(
    site: Site, session_key: str, browser: Browser, tmp_path: Path
) -> None:
    with served(site, "runserver", tmp_path, **site.keep_in_memory()) as server:
        await hears_what_a_view_publishes(browser, f"http://127.0.0.1:{server.port}", session_key)
    assert "log.memory: events are kept in this process only" in server.log.read_text()


async def test_a_page_hears_what_a_view_publishes_where_the_site_stays_on_wsgi(
    site: Site, site_redis: RedisServer, session_key: str, browser: Browser, tmp_path: Path
) -> None:
    with routed_aside(site, tmp_path) as server:
        await hears_what_a_view_publishes(browser, f"http://127.0.0.1:{server.port}", session_key)
    for name in ("gunicorn", "serve", "nginx"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


def test_wsgi_answers_a_stream_at_once_with_the_cure(
    site: Site, site_redis: RedisServer, tmp_path: Path
) -> None:
    with wsgi(site, tmp_path) as server:
        started = time.monotonic()
        answer = httpx.get(f"http://127.0.0.1:{server.port}/events/?topic=news", timeout=10)
        assert time.monotonic() - started < 1
    assert answer.status_code == 501
    assert answer.headers["content-type"] == "application/problem+json"
    assert "manage.py carillon serve" in answer.json()["detail"]
