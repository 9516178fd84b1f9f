"""The links between the pages of the documentation lead somewhere, in every checkout."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.servers import ROOT, binary

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\((?![a-z]+:)([\w./-]*)(#[\w-]+)?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ANCHOR = re.compile(r'<a id="([\w-]+)">')


def anchors(page: Path) -> set[str]:
    """The names in a page that a link may lead to, as GitHub makes them of headings."""
    text = page.read_text()
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in headings} | set(_ANCHOR.findall(text))


def is_ignored(target: Path) -> bool:
    """Whether only this folder has the file: git ignores it. Without git, no file is."""
    if not (git := shutil.which("git")):
        return False
    command = [git, "check-ignore", "--quiet", target.name]
    return subprocess.run(command, cwd=target.parent, stderr=subprocess.DEVNULL).returncode == 0


def is_sound(page: Path, file: str, anchor: str) -> bool:
    target = (page.parent / file).resolve() if file else page
    if not target.exists() or is_ignored(target):
        return False
    return not anchor or anchor[1:] in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    links = _LINK.findall(page.read_text())
    assert [link for link in links if not is_sound(page, *link)] == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    assert not is_sound(ROOT / "README.md", "docs/nothing.md", "")
    assert not is_sound(ROOT / "README.md", "docs/run.md", "#nothing")
    assert is_sound(ROOT / "README.md", "docs/run.md", "#health")


def test_a_link_to_what_git_ignores_is_found(tmp_path: Path) -> None:
    page, result, ignored = (tmp_path / name for name in ("page.md", "result.md", ".gitignore"))
    subprocess.run([binary("git"), "init", "--quiet", tmp_path], check=True)
    page.write_text(f"[What was measured]({result.name})")
    result.write_text("2 ms")
    assert is_sound(page, result.name, "")
    ignored.write_text("/result.*\n")
    assert not is_sound(page, result.name, "")
