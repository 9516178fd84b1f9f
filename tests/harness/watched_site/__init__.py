"""A site that an error tracker or APM agent watches, by the lines of docs/observability.md."""

import os
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[3] / "docs" / "observability.md"
WATCHER = os.environ.get("SITE_WATCHER", "")


def documented(first_line: str) -> str:
    """The code block of the page that begins with this line."""
    blocks: list[str] = re.findall(r"```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [block] = [block for block in blocks if block.startswith(f"# {first_line}\n")]
    return block


def run_documented(first_line: str, names: dict[str, Any]) -> None:
    """Run such a block where it stands, as if it were written there."""
    exec(compile(documented(first_line), f"docs/observability.md: {first_line}", "exec"), names)
