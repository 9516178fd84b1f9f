"""The front ends of docs/inbox.md, as they stand there: they show what the database has."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.bells import Bells, device
from tests.browser.recipes import PROGRAMS, bundle, recipes, type_errors
from tests.browser.test_carillon_js import until
from tests.harness.npm import npm_packages

pytestmark = pytest.mark.browser

MAIN = """
import { createRoot } from "react-dom/client";
import { Notifications } from "./react-inbox.jsx";
const topic = new URLSearchParams(location.search).get("topic") ?? "";
const place = document.body.appendChild(document.createElement("div"));
createRoot(place).render(<Notifications topic={topic} />);
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    files = {**recipes(), **recipes("inbox.md"), "main.tsx": MAIN}
    for name in ("subscribe.js", "inbox.js", "react-inbox.tsx", "main.tsx"):
        (folder / name).write_text(files[name])
    (folder / "tsconfig.json").write_text(PROGRAMS["tsconfig.json"])
    (folder / "node_modules").symlink_to(npm_packages(), target_is_directory=True)
    return folder


def test_the_recipes_have_the_right_types(project: Path) -> None:
    assert type_errors(project) == ""


async def test_a_page_in_react_follows_the_inbox(
    browser: Browser, project: Path, tmp_path: Path
) -> None:
    script = bundle(project)
    with ExitStack() as stack:
        site = Bells(tmp_path, stack)
        async with device(browser, site, "ada") as context:
            user = json.loads(await (await context.request.get(f"{site.url}/try/whoami")).text())

            async def answer(route: Route) -> None:
                is_script = route.request.url.endswith(".js")
                html = '<!doctype html><script type="module" src="/a.js"></script>'
                kind = "text/javascript" if is_script else "text/html"
                await route.fulfill(content_type=kind, body=script if is_script else html)

            await context.route("**/a.*", answer)
            await site.notify("ada", "Before")
            await until(lambda: site.state("ada"), lambda state: len(state["list"]) == 1)
            tab = await context.new_page()
            await tab.goto(f"{site.url}/try/")  # which sets the cookie
            await tab.goto(f"{site.url}/a.html?topic=user.{user}")
            summary = tab.locator("summary")
            await expect(summary).to_have_text("Notifications (1)")
            await site.notify("ada", "After", url="#after")
            await expect(summary).to_have_text("Notifications (2)")
            await summary.click()
            await expect(summary).to_have_text("Notifications (0)")
            await expect(tab.locator("li a")).to_have_text(["After", "Before"])
            await tab.get_by_role("link", name="After").click()
            await expect(tab.locator("li").first).to_have_class("read")
            await tab.get_by_role("button", name="Archive").last.click()
            await expect(tab.locator("li a")).to_have_text(["After"])
            with site.redis.client() as client:
                client.flushall()
            await site.notify("ada", "After the reset")
            await expect(tab.locator("li a")).to_have_text(["After the reset", "After"])
