"""The code that the README shows works as it is."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.browser.conftest import Inbox, Site
from tests.browser.visitor import expect_data, expect_state
from tests.harness.manage import carillon_process
from tests.harness.servers import (
    PUBLISH_KEY,
    ROOT,
    RedisServer,
    free_port,
)

pytestmark = pytest.mark.browser

README = (ROOT / "README.md").read_text()
HOST = "http://localhost:8000"


def code_block(language: str, *, holding: str) -> str:
    """The code block of the README in this language that has this word in it."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


LISTENER = "live.on('stream.cursor', () => console.log('open'))"


async def listen(page: Page) -> Inbox[str]:
    """What the JavaScript of the README writes to the console of this page, once it listens."""
    console: Inbox[str] = Inbox()

    def note(message: ConsoleMessage) -> None:
        console.put(message.text)

    script = code_block("js", holding="carillon")
    assert len(script.strip().splitlines()) == 5
    page.on("console", note)
    await page.evaluate(f"async () => {{ {script} {LISTENER}; }}")
    await console.until(lambda lines: "open" in lines)
    return console


async def run(command: str, **variables: str) -> bytes:
    """What a shell command writes."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", command),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, _ = await process.communicate()
    return answer


async def test_five_lines_of_javascript_receive_the_event_that_one_line_of_curl_publishes(
    browser: Browser, site: Site
) -> None:
    page = await browser.new_page()
    await page.goto(site.url)
    console = await listen(page)
    command = code_block("sh", holding="curl").replace(HOST, site.url)
    assert b'"cursor"' in await run(command, KEY=PUBLISH_KEY)
    await console.until(lambda lines: "Hello!" in lines)


async def see_event(browser: Browser, url: str, publish: str) -> Page:
    """The page of the service, which shows what this command has published, as the README does."""
    page = await browser.new_page()
    await page.goto(url)
    await expect_state(page, "live")
    console = await listen(page)
    assert b'"cursor"' in await run(publish)
    await expect_data(page, '{ "text": "Hello!" }')
    await console.until(lambda lines: "Hello!" in lines)
    await page.reload()
    await expect_data(page, '{ "text": "Hello!" }')
    return page


async def test_what_run_prints_is_shown_by_the_page_and_received_by_the_readme(
    browser: Browser, development: dict[str, str]
) -> None:
    with carillon_process("dev", environment=development) as dev:
        url = dev.wait_for(r"page     (\S+)")
        page = await see_event(browser, url, dev.wait_for(r"publish  (curl .*)"))
        line = re.search(r"sign in  (\S+) as (\S+), password (\S+)", dev.output)
        assert line
        await page.goto(line[1])
        await page.get_by_label("Username").fill(line[2])
        await page.get_by_label("Password").fill(line[3])
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(page.locator("#publish-result")).to_have_text("Published to 1 topic.")
        await expect_data(page, '{ "text": "Hello!" }', '{ "text": "Hello!" }')


async def test_what_compose_prints_is_shown_by_the_page_and_received_by_the_readme(
    browser: Browser, redis: RedisServer, tmp_path: Path
) -> None:
    """The image's entrypoint and command, with what `docker compose up` gives them."""
    port = free_port()
    with compose_service(redis, tmp_path, port) as printed:
        url, publish = printed(r"starts at (http://\S+)"), printed(r"publish  (curl .*)")
        assert printed(r"Carillon serves (\S+)")
        page = await see_event(browser, url, publish)
        key = (tmp_path / "publish.key").read_text().strip()
        command = code_block("sh", holding="curl").replace(HOST, url.rstrip("/"))
        assert b'"cursor"' in await run(command, KEY=key)
        await expect_data(page, '{ "text": "Hello!" }', '{ "text": "Hello!" }')


@contextmanager
def compose_service(redis: RedisServer, folder: Path, port: int) -> Iterator[Callable[[str], str]]:
    given = {"REDIS_URL": redis.url, "PORT": str(port), "PATH": os.environ["PATH"]}
    files = {
        "SECRET_KEY_FILE": str(folder / "secret.key"),
        "CARILLON_PUBLISH_KEYS_FILE": str(folder / "publish.key"),
    }
    variables = {**given, **compose_environment(given), **files, "DATA_DIR": str(folder)}
    command = [sys.executable, "manage.py", "carillon", "serve"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "config.entrypoint", *command],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = process.stdout

        def printed(pattern: str) -> str:
            return next(found[1] for line in lines if (found := re.search(pattern, line)))

        try:
            yield printed
        finally:
            process.terminate()


def compose_environment(given: dict[str, str]) -> dict[str, str]:
    """The variables of the service `web`. Compose puts defaults in as a shell does."""
    web = (ROOT / "docker-compose.yml").read_text().partition("\n  redis:\n")[0]
    values = re.findall(r"^      ([A-Z_]+): (.+)$", web, re.MULTILINE)
    script = "".join(f'printf "%s\\0" "{value}"\n' for _, value in values)
    done = subprocess.run(["bash", "-euc", script], env=given, capture_output=True, check=True)
    names = (name for name, _ in values)
    expanded = done.stdout.decode().split("\0")
    return {name: value for name, value in zip(names, expanded, strict=False) if value}
