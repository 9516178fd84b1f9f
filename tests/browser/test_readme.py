"""The code that the README shows works as it is."""

import asyncio
import os
import re

import pytest
from playwright.async_api import Browser, ConsoleMessage

from tests.browser.conftest import Inbox, Site
from tests.harness.servers import PUBLISH_KEY, ROOT

pytestmark = pytest.mark.browser

README = (ROOT / "README.md").read_text()
HOST = "http://localhost:8000"


def code_block(language: str, *, holding: str) -> str:
    """The code block of the README in this language that has this word in it."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


async def test_five_lines_of_javascript_receive_the_event_that_one_line_of_curl_publishes(
    browser: Browser, site: Site
) -> None:
    console: Inbox[str] = Inbox()

    def note(message: ConsoleMessage) -> None:
        console.put(message.text)

    script = code_block("js", holding="new EventSource")
    assert len(script.strip().splitlines()) == 5
    context = await browser.new_context()
    page = await context.new_page()
    page.on("console", note)
    await page.goto(site.url)
    await page.evaluate(f"() => {{ {script} events.onopen = () => console.log('open'); }}")
    await console.until(lambda lines: "open" in lines)

    command = code_block("sh", holding="curl").replace(HOST, site.url)
    curl = await asyncio.create_subprocess_exec(
        *("bash", "-euc", command),
        env={**os.environ, "KEY": PUBLISH_KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, _ = await curl.communicate()
    assert b'"cursor"' in answer
    await console.until(lambda lines: "Hello!" in lines)
    await context.close()
