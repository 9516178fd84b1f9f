"""`CsvStream`: a CSV file of any size, in the memory of one page of rows."""

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
from notifications.streaming.rows import Rows, check_pageable, pages

CONTENT_TYPE = "text/csv; charset=utf-8"
PAGE_ROWS = 500

# The last four are full-width forms, which spreadsheets in some languages read as the others.
FORMULA_STARTS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)

type Column = str | Callable[[Any], Any]


class CsvStream(StreamedFile):
    """A view returns it: the rows of a QuerySet, or of any iterable or async iterable, as a file.

    `columns` are names of fields (`"customer__name"` goes through a relation), keys or, for rows
    that are sequences, only headers; as a mapping, each header with its field or a function of the
    row. Text that a spreadsheet would run as a formula is quoted. A QuerySet is read in the order
    of its primary key, by one short query for each `page` rows, and without a transaction: a row
    that is changed meanwhile may be read before or after the change. `bom` marks the file as UTF-8
    for Excel. Raises `ValueError` for a QuerySet that cannot be read in this way.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        columns: Sequence[str] | Mapping[str, Column],
        filename: str = "export.csv",
        page: int = PAGE_ROWS,
        bom: bool = False,
    ) -> None:
        check_pageable(rows)
        by_header = (
            dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
        )
        source = _encoded_pages(rows, by_header, page, bom=bom)
        super().__init__(source, content_type=CONTENT_TYPE, filename=filename)


async def _encoded_pages(
    rows: Rows, columns: Mapping[str, Column], size: int, *, bom: bool
) -> AsyncGenerator[bytes]:
    encoder = CsvEncoder()
    getters = [_getter(column) for column in columns.values()]

    def encode(page: list[Any]) -> bytes:
        return encoder.encode(_cells(row, getters) for row in page)

    head = encoder.encode([[cell(header) for header in columns]])
    yield b"\xef\xbb\xbf" + head if bom else head
    async with aclosing(pages(rows, size=size)) as source:
        async for page in source:
            # In a thread, because a column may be a function that reads from the database.
            yield await sync_to_async(encode)(page)


class CsvEncoder:
    """Encodes rows of cells as lines, quoted as RFC 4180 says."""

    def __init__(self) -> None:
        self._out = StringIO(newline="")
        self._writer = csv.writer(self._out)

    def encode(self, rows: Iterable[Sequence[Any]]) -> bytes:
        self._writer.writerows(rows)
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text.encode(errors="replace")


def _cells(row: Any, getters: Sequence[Callable[[Any], Any]]) -> list[Any]:
    if isinstance(row, list | tuple) and not hasattr(row, "_fields"):
        return [cell(value) for value in row]
    return [cell(get(row)) for get in getters]


def _getter(column: Column) -> Callable[[Any], Any]:
    if callable(column):
        return column
    attribute = operator.attrgetter(column.replace("__", "."))

    def get(row: Any) -> Any:
        return row[column] if isinstance(row, Mapping) else attribute(row)

    return get


def cell(value: Any) -> Any:
    """Any value as a cell: None stays empty, a number stays a number, containers become JSON."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        return escape_formula(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return escape_formula(compact_json(value))
    return escape_formula(str(value))


def escape_formula(text: str) -> str:
    """Text that a spreadsheet shows as text, whoever wrote it.

    A spreadsheet runs a cell that begins like a formula when the file is opened (OWASP, "CSV
    Injection"). An apostrophe before it makes it text. A number stays as it is, also with a sign.
    """
    if text[:1] in FORMULA_STARTS and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
