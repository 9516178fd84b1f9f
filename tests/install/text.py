"""What README.md and docs/install.md say, to be done as it stands there."""

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
    """How many files and lines it says it takes."""
    said = re.search(r"(\w+) files, (\w+) lines", README)
    assert said
    return said[1].lower(), said[2].lower()


def block(language: str, *, holding: str) -> str:
    """The code of that language in docs/install.md which holds a word."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", INSTALL, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


def command(holding: str) -> list[str]:
    return shlex.split(block("sh", holding=holding))
