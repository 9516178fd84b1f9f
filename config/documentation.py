"""A hook of MkDocs: what links to files outside of docs/ is plain text on the website."""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?!examples/)[^)]*\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links from `docs/*.md` to `../README.md` and the like work in the repository alone."""
    return markdown if "/" in page.file.src_uri else OUTSIDE.sub(r"\1", markdown)
