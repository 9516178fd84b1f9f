"""The page: history as a file, and progress bars."""

import asyncio
import csv
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.accessibility import expect_accessible
from tests.browser.conftest import Site
from tests.browser.visitor import visit

pytestmark = pytest.mark.browser


def step(job: str, percent: float | None, state: str = "running") -> dict[str, Any]:
    return {"job": job, "percent": percent, "state": state, "done": 7, "rate": 2, "message": "Rows"}


async def test_the_history_of_the_topics_can_be_downloaded(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await site.publish(*({"topic": topic, "data": f"={i}"} for i in range(5)))
    await visit(page, site.url, topic)
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="CSV", exact=True).click()
    download = await downloading.value
    assert download.suggested_filename.startswith(topic)
    path: Path = await download.path()
    text = await asyncio.to_thread(path.read_text, newline="")
    assert [row["data"] for row in csv.DictReader(StringIO(text, newline=""))] == [
        f"'={i}" for i in range(5)
    ]
    await expect(page.locator("#history [role=status]")).to_contain_text("Downloaded")
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


async def test_a_refused_download_shows_the_reason(page: Page, site: Site) -> None:
    await visit(page, site.url, "secret", state="refused")
    await page.get_by_role("link", name="NDJSON").click()
    await expect(page.locator("#history [role=status]")).to_contain_text("may not subscribe")


async def test_a_job_has_one_progress_bar_that_moves(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    for percent in (None, 10, 55.5):
        event = {"topic": topic, "type": "progress", "data": step("one", percent)}
        await site.publish(event)
    bar = page.get_by_role("progressbar", name=topic)
    await expect(bar).to_have_count(1)
    await expect(bar).to_have_js_property("value", 55.5)
    await expect(page.locator(".job-share")).to_have_text("55 %, 2.00 a second")
    await expect(page.locator("#events .event")).to_have_count(0)
    await expect_accessible(page)
    await site.publish({"topic": topic, "type": "progress", "data": step("one", 100, "done")})
    await expect(page.locator(".job-share")).to_have_text("Done, 100 %")
    await page.get_by_role("button", name="Clear").click()
    await expect(bar).to_have_count(0)


async def test_an_event_that_only_looks_like_progress_is_an_event(page: Page, site: Site) -> None:
    topic = site.new_topic()
    await visit(page, site.url, topic)
    await site.publish({"topic": topic, "type": "progress", "data": "so so"})
    await expect(page.locator("#events .event")).to_have_count(1)
