"""What axe finds in a page, in light and in dark colours, and whether the page fits its window."""

from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.async_api import Page

COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
FIND = """async () => {
  const { violations } = await axe.run({ resultTypes: ["violations"] });
  return { violations };
}"""
FITS = "document.documentElement.scrollWidth <= innerWidth"


async def expect_accessible(page: Page) -> None:
    """Only style sheets know of the colours, so that the page changes them without a reload.

    Nothing moves, because what does has colours in between.
    """
    if not await page.evaluate("'axe' in window"):  # to compile it takes as long as a check
        await page.evaluate(AXE_SCRIPT)
    for colours in COLOURS:
        await page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        found = AxeResults(await page.evaluate(FIND))
        assert found.violations_count == 0, f"{page.url}, {colours}: {found.generate_report()}"
        assert await page.evaluate(FITS), f"{page.url}, {colours}"
