"""The documentation as a website: MkDocs finds every page, link and heading."""

import subprocess
import sys
from pathlib import Path

from tests.harness.servers import ROOT


def build(folder: Path, *, config: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    return subprocess.run(
        [*command, "--config-file", str(config)], cwd=ROOT, capture_output=True, text=True
    )


def test_the_website_is_built_without_a_warning(tmp_path: Path) -> None:
    """Strict: each page is in the navigation, and each link leads to a page and a heading."""
    built = build(tmp_path / "site", config=ROOT / "mkdocs.yml")
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    for page in (ROOT / "docs").glob("*.md"):
        name = "" if page.stem == "index" else page.stem
        assert (tmp_path / "site" / name / "index.html").exists()
    extend = (tmp_path / "site" / "extend" / "index.html").read_text()
    assert 'href="../../' not in extend  # what is outside of docs/ is not on the website


def test_a_page_that_nobody_can_find_fails_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# One\n\n[Two](two.md#nowhere)\n")
    (docs / "two.md").write_text("# Two\n")
    config = (ROOT / "mkdocs.yml").read_text().partition("nav:\n")[0]
    config = config.replace("config/documentation.py", str(ROOT / "config" / "documentation.py"))
    (tmp_path / "mkdocs.yml").write_text(f"{config}nav:\n  - index.md\n")
    built = build(tmp_path / "site", config=tmp_path / "mkdocs.yml")
    assert built.returncode == 1
    assert "two.md" in built.stderr
    assert "#nowhere" in built.stderr
