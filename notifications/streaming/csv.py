"""`CsvStream`: a CSV file of any size, in the memory of a page."""

import csv
import operator
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import date, time
from io import StringIO
from typing import Any

from asgiref.sync import sync_to_async

from notifications.events import compact_json
from notifications.streaming.responses import StreamedFile
from notifications.streaming.rows import Rows, check, pages

CONTENT_TYPE = "text/csv; charset=utf-8"
PAGE = 500

type Column = str | Callable[[Any], Any]


class Encoder:
    """Rows as lines, quoted as RFC 4180 has it. Cells are taken as they are."""

    def __init__(self) -> None:
        self._out = StringIO(newline="")
        self._writer = csv.writer(self._out)

    def encode(self, rows: Iterable[Sequence[Any]]) -> bytes:
        self._writer.writerows(rows)
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text.encode(errors="replace")


class CsvStream(StreamedFile):
    """A view returns it: the rows of a QuerySet, or of any iterable or async iterable, as a file.

    `columns` are names of fields (`"customer__name"` goes through a relation), keys or, for rows
    that are sequences, headers alone; as a mapping, each header with its field or a function of the
    row. Text that a spreadsheet would run is quoted. A QuerySet is read in the order of its primary
    key, by one short query for each `page` rows, and without a transaction, so that a row which is
    changed meanwhile may be seen before or after that. `bom` marks the file as UTF-8 for Excel.
    Raises `ValueError` for a QuerySet that cannot be read so.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        columns: Sequence[str] | Mapping[str, Column],
        filename: str = "export.csv",
        page: int = PAGE,
        bom: bool = False,
    ) -> None:
        check(rows)
        named = dict(columns) if isinstance(columns, Mapping) else {each: each for each in columns}
        source = _lines(rows, named, page, bom=bom)
        super().__init__(source, content_type=CONTENT_TYPE, filename=filename)


async def _lines(
    rows: Rows, columns: Mapping[str, Column], size: int, *, bom: bool
) -> AsyncGenerator[bytes]:
    encoder = Encoder()
    takes = [_taking(column) for column in columns.values()]

    def encode(page: list[Any]) -> bytes:
        return encoder.encode(_cells(row, takes) for row in page)

    head = encoder.encode([[cell(header) for header in columns]])
    yield b"\xef\xbb\xbf" + head if bom else head
    async with aclosing(pages(rows, size=size)) as source:
        async for page in source:
            # In a thread, since a column may be a function, and read from the database.
            yield await sync_to_async(encode)(page)


def _cells(row: Any, takes: Sequence[Callable[[Any], Any]]) -> list[Any]:
    if isinstance(row, list | tuple) and not hasattr(row, "_fields"):
        return [cell(value) for value in row]
    return [cell(take(row)) for take in takes]


def _taking(column: Column) -> Callable[[Any], Any]:
    if callable(column):
        return column
    attribute = operator.attrgetter(column.replace("__", "."))

    def take(row: Any) -> Any:
        return row[column] if isinstance(row, Mapping) else attribute(row)

    return take


# Cells of a CSV file: text that a spreadsheet takes for text, whoever wrote it.
#
# What begins like a formula is run as one when the file is opened (OWASP, "CSV Injection"). An
# apostrophe before it makes it text. What is a number stays one, a sign before it notwithstanding.


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
