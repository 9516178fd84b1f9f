"""The contents of the wheel and of the source distribution."""

import tarfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

from tests.harness.servers import ROOT
from tests.install import text

pytestmark = [pytest.mark.install, pytest.mark.timeout(400)]


def source(folder: str, pattern: str) -> set[str]:
    return {
        str(file.relative_to(ROOT))
        for file in (ROOT / folder).rglob(pattern)
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_it_contains_the_whole_package_and_nothing_of_the_project(package: Path) -> None:
    with ZipFile(package) as archive:
        names = set(archive.namelist())
    packaged = {name for name in names if ".dist-info/" not in name}
    templates = {f"notifications/{name}" for name in source("templates/carillon", "*")}
    assert packaged == source("notifications", "*") | templates
    assert "notifications/py.typed" in packaged
    assert "notifications/log/log.lua" in packaged
    assert "notifications/migrations/0001_initial.py" in packaged
    assert "notifications/templates/carillon/page.html" in packaged


def test_no_template_or_static_file_can_collide_with_one_of_the_site(package: Path) -> None:
    with ZipFile(package) as archive:
        paths = [PurePosixPath(name) for name in archive.namelist()]
    folders = {path.parts[1:3] for path in paths if path.parts[1] in ("templates", "static")}
    assert folders == {("templates", "carillon"), ("static", "carillon")}


def test_it_has_the_extras_that_the_documentation_names_and_a_license(package: Path) -> None:
    with ZipFile(package) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert set(metadata.get_all("Provides-Extra", [])) == text.extras()
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]


def test_the_source_distribution_contains_the_sources_of_the_package(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert source("notifications", "*") | source("templates/carillon", "*") <= names
    assert {name.partition("/")[0] for name in names} <= {
        *("notifications", "templates", "docs", "README.md", "CHANGELOG.md", "LICENSE"),
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
    }
