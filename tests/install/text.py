"""Commands and code in README.md and docs/install.md, which the tests run as they are."""

import re
import shlex
from dataclasses import dataclass, fields

from tests.harness.servers import ROOT

README = (ROOT / "README.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
REDIS = "redis://localhost:6379/1"


@dataclass(frozen=True)
class Edits:
    """The blocks of the README's section, and the files to which they belong."""

    shell: str
    settings: str
    asgi: str
    urls: str
    code: str
    template: str


def edits() -> Edits:
    section = README.partition("## Into your own site\n")[2]
    blocks = re.findall(r"```(?:sh|python|html)\n(.*?)```", section, re.DOTALL)
    return Edits(*blocks[: len(fields(Edits))])


def extras() -> set[str]:
    """The extras of the table in docs/install.md."""
    table = INSTALL.partition("## Extras\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}


def block(language: str, *, holding: str) -> str:
    """The code block in docs/install.md of this language that contains this text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", INSTALL, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


def command(holding: str) -> list[str]:
    return shlex.split(block("sh", holding=holding))
