"""The table of docs/run.md has every setting, with its default."""

import re
from pathlib import Path
from typing import Any

import pytest

from config.tokens import TokenVariables
from config.variables import Carillon, Project
from notifications.conf import Settings
from tests.harness.servers import ROOT

ROW = re.compile(r"\| (?P<names>`[A-Z_]+`(?:, `[A-Z_]+`)*) \| (?P<defaults>[^|]*) \| [^|]+ \|")
IN_WORDS = {
    "SECRET_KEY": "none",
    "ALLOWED_HOSTS": "localhost",
    "DATABASE_URL": "SQLite in `data/`",
    "CARILLON_JWT_SECRET": "none",
    "CARILLON_PUSH_SERVICES": "those of browsers",
    "CARILLON_JWT_PUBLIC_KEY": "none",
    "CARILLON_JWT_ALGORITHM": "HS256 or RS256",
}


def rows() -> dict[str, str]:
    text = (ROOT / "docs" / "run.md").read_text()
    section = text.partition("## Settings\n")[2].partition("\n## ")[0]
    found = {}
    for match in ROW.finditer(section):
        names = re.findall("[A-Z_]+", match["names"])
        defaults = match["defaults"].split(", ")
        for name, default in zip(names, defaults * (len(names) // len(defaults)), strict=True):
            assert name not in found
            found[name] = default
    return found


def documented(default: Any) -> str:
    match default:
        case None | () | []:
            return "none"
        case bool():
            return "on" if default else "off"
        case tuple():
            return ",".join(default)
        case Path():
            return f"`{default.relative_to(ROOT)}/`"
        case _:
            return f"{default}"


SETTINGS = {
    model.variable((name,)): field.default
    for model in (Project, TokenVariables, Carillon)
    for name, field in model.model_fields.items()
    if name not in model.composed
}


@pytest.mark.parametrize("variable", SETTINGS)
def test_each_setting_has_a_row_with_its_default(variable: str) -> None:
    expected = IN_WORDS.get(variable, documented(SETTINGS[variable]))
    assert rows()[variable].removesuffix(".0") == expected.removesuffix(".0")


def test_each_row_is_about_a_setting() -> None:
    assert set(rows()) == set(SETTINGS)
    assert set(Settings.model_fields) == {*Carillon.model_fields}
