"""docs/extend.md, the way into the code, is true."""

import re

import pytest

from tests.harness.servers import ROOT
from tests.project.test_house import PACKAGE, layers

TEXT = (ROOT / "docs" / "extend.md").read_text()
READING_PATH = re.findall(
    r"^\| \[`([\w/.]+)`\]\(\.\./notifications/\1\) \| (\d+) \|", TEXT, re.MULTILINE
)
MAX_LINES = 1_300


def lines_of(file: str) -> int:
    return len((PACKAGE / file).read_text().splitlines())


def test_the_core_can_be_read_in_an_hour() -> None:
    assert len(READING_PATH) >= 7
    assert sum(lines_of(file) for file, _ in READING_PATH) <= MAX_LINES


@pytest.mark.parametrize(("file", "lines"), READING_PATH)
def test_the_reading_path_names_files_with_their_lines(file: str, lines: str) -> None:
    assert lines_of(file) == int(lines)


def test_the_sum_is_that_of_the_table() -> None:
    [total] = re.findall(r"^That is ([\d,]+) lines\.$", TEXT, re.MULTILINE)
    assert int(total.replace(",", "")) == sum(int(lines) for _, lines in READING_PATH)


def test_the_layers_are_those_of_the_import_contract() -> None:
    assert "\n".join(layers()) in TEXT


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:\w+/)+(?:[\w.]+)?|\w+\.(?:py|lua))`", TEXT)))
)
def test_what_the_page_names_exists(path: str) -> None:
    assert any((folder / path).exists() for folder in (PACKAGE, ROOT))
