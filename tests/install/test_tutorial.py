"""The tutorial, as it is written: its commands and files make a blog, where two browsers meet."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.harness.servers import ROOT, RedisServer, free_port
from tests.install import text
from tests.install.serving import ADDRESS, process
from tests.install.site import Site, run

pytestmark = [pytest.mark.install, pytest.mark.browser, pytest.mark.timeout(400)]

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
# A paragraph that names a file, and its block; or a block alone.
BLOCK = re.compile(
    r"^(?:\*\*([\w/.]+)\*\*, ((?:[^\n]+\n)+)\n)?```\w+\n(.*?)```", re.MULTILINE | re.DOTALL
)
REPLACED = re.compile(r"in place of `(.*?)`")
DONE = ("apt install", "pip install")
"""What the fixtures have done already: a Redis, and an environment with the wheel."""
LATER = ("runserver", "carillon publish")


@dataclass(frozen=True)
class Step:
    """A block: the content of a file and where it goes, or (without a file) shell commands."""

    file: str
    where: str
    content: str


STEPS = [Step(*found) for found in BLOCK.findall(TUTORIAL)]


def command(holding: str) -> list[str]:
    [line] = [line for step in STEPS for line in step.content.splitlines() if holding in line]
    return shlex.split(line)


def take(step: Step, site: Site) -> None:
    """Do what a reader does with this block."""
    if not step.file:
        folder = site.folder if site.folder.exists() else site.folder.parent
        run("bash", "-euc", step.content, cwd=folder, env=site.environment)
        return
    path = site.folder / step.file
    content = step.content.replace(text.REDIS, f"redis://localhost:{site.redis_port}/1")
    if found := REPLACED.match(step.where):
        before = path.read_text()
        assert before.count(found[1]) == 1
        content = before.replace(found[1], content.strip())
    elif step.where.startswith("at its end"):
        content = f"{path.read_text()}\n{content}"
    else:
        assert path.exists() == step.where.startswith("all of it")
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


async def visit(browser: Browser, url: str, *, name: str = "") -> Page:
    page = await (await browser.new_context()).new_page()
    await page.goto(url)
    if name:
        await page.get_by_role("link", name="Log in to comment").click()
        await page.get_by_label("Username").fill(name)
        await page.get_by_label("Password").fill(name)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("button", name="Comment")).to_be_visible()
    return page


def comments(page: Page) -> Locator:
    return page.locator("#comments li")


def toasts(page: Page) -> Locator:
    return page.locator("#toasts p")


def bell(page: Page) -> Locator:
    return page.locator("carillon-bell").get_by_role("button").first


async def write(page: Page, comment: str) -> None:
    await page.get_by_label("You are").fill(comment)
    await page.get_by_role("button", name="Comment").click()


async def test_two_browsers_meet_in_the_blog_of_the_tutorial(
    binaries: Path, redis: RedisServer, browser: Browser, tmp_path: Path
) -> None:
    site = Site(tmp_path / "mysite", binaries, redis.port)
    for step in STEPS:
        if step.file or not any(words in step.content for words in DONE + LATER):
            take(step, site)
    assert "no issues" in site.manage("check")
    port = free_port()
    serve = [*command("runserver"), "--noreload", str(port)]
    url, log = f"http://{ADDRESS}:{port}", tmp_path / "runserver.log"
    with process(site, serve, port, log):
        ada, eve = await visit(browser, url, name="ada"), await visit(browser, url, name="eve")
        anybody = await visit(browser, url)
        await write(eve, "Hello, Ada!")
        for page in (ada, eve, anybody):
            await expect(comments(page)).to_have_text(["eve: Hello, Ada!"])
        await expect(toasts(ada)).to_have_text(["eve commented"])
        await expect(toasts(ada)).to_have_count(0)
        site.run(*command("carillon publish"))
        await expect(toasts(ada)).to_have_text(["From the terminal"])
        await expect(bell(ada)).to_have_accessible_name(re.compile("1"))
        await expect(bell(eve)).not_to_have_accessible_name(re.compile("1"))
        await bell(ada).click()
        listed = "eve commented on My first post: Hello, Ada!"
        await expect(ada.locator("carillon-bell")).to_contain_text(listed)
    with process(site, serve, port, log):
        await write(eve, "Once more")
        for page in (ada, eve, anybody):
            await expect(comments(page)).to_have_text(["eve: Hello, Ada!", "eve: Once more"])
    for page in (eve, anybody):
        await expect(toasts(page)).to_have_count(0)
    assert "Traceback" not in log.read_text()
