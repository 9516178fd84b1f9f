"""Commands and code in README.md and docs/install.md, which the tests run as they are."""

import re
import shlex
from dataclasses import dataclass

from tests.harness.servers import ROOT

README = (ROOT / "README.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
REDIS = "redis://localhost:6379/1"


@dataclass(frozen=True)
class Edits:
    """The lines of the README's section."""

    pip: str
    apps: str
    carillon: str
    asgi: str
    url: str
    publish: str
    script: str

    @property
    def extras(self) -> list[str]:
        return re.search(r"\(extras: (.*)\)", self.pip)[1].split(", ")  # type: ignore[index]


def edits() -> Edits:
    section = README.partition("## Into your own site\n")[2]
    [block] = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return Edits(*block.splitlines())


def counted() -> tuple[str, str]:
    """How many files and lines the README says the edits take."""
    match = re.search(r"(\w+) files, (\w+) lines", README)
    assert match
    return match[1].lower(), match[2].lower()


def block(language: str, *, holding: str) -> str:
    """The code block in docs/install.md of this language that contains this text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", INSTALL, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


def command(holding: str) -> list[str]:
    return shlex.split(block("sh", holding=holding))
