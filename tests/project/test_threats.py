"""Each line of the threat model in docs/security.md names a test that exists."""

import re

from tests.harness.servers import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[str]:
    text = (ROOT / "docs/security.md").read_text()
    model = text.partition("## Threat model")[2].partition("\n## ")[0]
    return [line for line in model.splitlines() if line.startswith("| ") and "---" not in line][1:]


def test_every_threat_that_is_stopped_names_its_test() -> None:
    assert len(rows()) > 25
    assert [row for row in rows() if not NAMED.search(row)] == []


def test_every_test_that_is_named_exists() -> None:
    named = {test for row in rows() for test in NAMED.findall(row)}
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).is_file()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []
