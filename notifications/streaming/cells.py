"""Cells of a CSV file: text that a spreadsheet takes for text, whoever wrote it.

What begins like a formula is run as one when the file is opened (OWASP, "CSV Injection"). An
apostrophe before it makes it text. What is a number stays one, a sign before it notwithstanding.
"""

import re
from datetime import date, time
from typing import Any

from notifications.events import compact_json

# The last four are their full-width forms, which spreadsheets of some languages take as well.
RISKY = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)


def safe(text: str) -> str:
    if text[:1] in RISKY and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def cell(value: Any) -> Any:
    """Any value as a cell: nothing as nothing, numbers as numbers, and what has parts as JSON."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return safe(compact_json(value))
    return safe(str(value))
