"""The Python of docs/reach.md runs, and does what the page says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from notifications.inbox import Choice, kinds
from notifications.inbox.channels import Channel
from tests.harness.servers import ROOT

PAGE = (ROOT / "docs" / "reach.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def declared() -> Iterator[dict[str, Any]]:
    """What the blocks have declared and defined, in the order of the page."""
    known, kept = dict(kinds._kinds), dict(kinds._categories)
    kinds._kinds.clear()
    kinds._categories.clear()
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/reach.md", "exec"), names)
    yield names
    kinds._kinds.clear()
    kinds._kinds.update(known)
    kinds._categories.clear()
    kinds._categories.update(kept)


def test_the_blocks_declare_what_the_table_explains(declared: dict[str, Any]) -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {str(choice) for choice in Choice} <= set(explained)
    orders, security, offers = map(kinds.find_category, ("orders", "security", "offers"))
    assert orders.choice(Channel.EMAIL) is Choice.ON
    assert orders.choice(Channel.IN_APP) is Choice.ALWAYS
    assert security.choice(Channel.EMAIL) is Choice.ALWAYS
    assert offers.choice(Channel.EMAIL) is Choice.OFF
