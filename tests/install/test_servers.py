"""An event that a view publishes arrives in a browser, under each server."""

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Dialog

from tests.browser.conftest import Inbox
from tests.harness.promises import within
from tests.harness.servers import RedisServer
from tests.install import example
from tests.install.serving import COMMANDS, routed_aside, served, wsgi
from tests.install.site import Site

pytestmark = [pytest.mark.install, pytest.mark.browser, pytest.mark.timeout(400)]


@pytest.fixture(scope="session")
def session_key(site: Site) -> str:
    """The session key of a user who is logged in."""
    return site.manage("shell", "-v0", "-c", example.MAKE_USER).split()[-1]


async def expect_event_of_view(browser: Browser, url: str, session_key: str) -> None:
    messages: Inbox[str] = Inbox()

    async def record(dialog: Dialog) -> None:
        messages.put(dialog.message)
        await dialog.dismiss()

    context = await browser.new_context()
    await context.add_cookies([{"name": "sessionid", "value": session_key, "url": url}])
    page = await context.new_page()
    page.on("dialog", record)
    async with page.expect_response("**/events/") as opening:
        await page.goto(url)
    response = await opening.value
    assert response.status == 200
    assert await page.title() == "My site"
    assert (await page.request.get(f"{url}/pay/")).ok
    await messages.until(lambda items: bool(items))
    assert messages.items == ["Paid"]
    await context.close()


@pytest.mark.parametrize("server", COMMANDS)
async def test_a_page_receives_an_event_of_a_view_under(
    server: str,
    site: Site,
    site_redis: RedisServer,
    session_key: str,
    browser: Browser,
    tmp_path: Path,
) -> None:
    with served(site, server, tmp_path) as running:
        await expect_event_of_view(browser, f"http://127.0.0.1:{running.port}", session_key)
    assert "Traceback" not in running.log.read_text()


async def test_djangos_own_handler_serves_too(
    site: Site, site_redis: RedisServer, session_key: str, browser: Browser, tmp_path: Path
) -> None:
    with served(site, "runserver", tmp_path, **site.stay_stock()) as server:
        await expect_event_of_view(browser, f"http://127.0.0.1:{server.port}", session_key)
    assert "(carillon.W001)" in server.log.read_text()


async def test_runserver_without_redis_logs_that_events_stay_in_its_process(
    site: Site, session_key: str, browser: Browser, tmp_path: Path
) -> None:
    with served(site, "runserver", tmp_path, **site.keep_in_memory()) as server:
        await expect_event_of_view(browser, f"http://127.0.0.1:{server.port}", session_key)
    assert "log.memory: events are kept in this process only" in server.log.read_text()


async def test_a_page_receives_an_event_of_a_view_in_a_site_that_stays_on_wsgi(
    site: Site, site_redis: RedisServer, session_key: str, browser: Browser, tmp_path: Path
) -> None:
    with routed_aside(site, tmp_path) as server:
        await expect_event_of_view(browser, f"http://127.0.0.1:{server.port}", session_key)
    for name in ("gunicorn", "serve", "nginx"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


def test_wsgi_answers_a_stream_at_once_with_the_cure(
    site: Site, site_redis: RedisServer, tmp_path: Path
) -> None:
    with wsgi(site, tmp_path) as server, within(1):
        response = httpx.get(f"http://127.0.0.1:{server.port}/events/?topic=news", timeout=10)
    assert response.status_code == 501
    assert response.headers["content-type"] == "application/problem+json"
    assert "manage.py carillon serve" in response.json()["detail"]
