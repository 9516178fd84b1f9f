"""The rows of a table that is streamed, page by page, from a QuerySet or any iterable.

A QuerySet is read by its primary key, and each page is a query of its own. `aiterator` would keep a
cursor open for as long as the slowest client takes: PostgreSQL would store the whole result, and a
connection pool could not lend the connection to others; on SQLite, the open read would block every
write.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from itertools import batched
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet

from notifications.hub.scheduling import TimeSlice
from notifications.streaming.django_internals import query_shape

type Rows = QuerySet[Any, Any] | AsyncIterable[Any] | Iterable[Any]


async def pages(rows: Rows, *, size: int) -> AsyncGenerator[list[Any]]:
    """All rows in lists of up to `size`. Code that may block runs in a thread."""
    if isinstance(rows, QuerySet):
        source = _pages_by_key(rows, size)
    elif isinstance(rows, AsyncIterable):
        source = _pages_of_async(rows, size)
    else:
        source = _pages_in_thread(rows, size)
    async with aclosing(source):
        async for page in source:
            yield page


def check_pageable(rows: Rows) -> None:
    """Raises `ValueError` for a QuerySet that cannot be read by its primary key."""
    if not isinstance(rows, QuerySet):
        return
    shape = query_shape(rows)
    key = _key_name(rows)
    key_names = {"pk", key}
    if shape.is_sliced:
        raise ValueError("A QuerySet that is sliced cannot be read page by page: filter it.")
    if shape.is_combined:
        raise ValueError("A combined QuerySet cannot be read page by page: give its aiterator().")
    if len(shape.order) > 1 or not {field.lstrip("-") for field in shape.order} <= key_names:
        raise ValueError(
            "A QuerySet is read in the order of its primary key. To keep another order, give its "
            "aiterator(), which holds a cursor open in the database until the client has it all."
        )
    if not shape.has_named_fields:
        raise ValueError("Use values() or values_list(named=True): a row must know its key.")
    if shape.fields and not key_names.intersection(shape.fields):
        raise ValueError(f"Add {key!r} to values(): the QuerySet is read by it.")


async def _pages_by_key(rows: QuerySet[Any, Any], size: int) -> AsyncGenerator[list[Any]]:
    key = _key_name(rows)
    is_descending = query_shape(rows).order[:1] in (("-pk",), (f"-{key}",))
    after = "pk__lt" if is_descending else "pk__gt"
    ordered = rows.order_by("-pk" if is_descending else "pk")
    last: Any = None
    while True:
        remaining = ordered if last is None else ordered.filter(**{after: last})
        page: list[Any] = await sync_to_async(lambda query: list(query[:size]))(remaining)
        if page:
            yield page
            last = _key_of(page[-1], key)
        if len(page) < size:
            return


def _key_name(rows: QuerySet[Any, Any]) -> str:
    name: str = rows.model._meta.pk.name  # noqa: SLF001 - documented: the Model _meta API
    return name


def _key_of(row: Any, key: str) -> Any:
    if isinstance(row, Model):
        return row.pk
    if isinstance(row, dict):
        return row["pk"] if "pk" in row else row[key]
    return getattr(row, key)  # values_list(named=True)


async def _pages_of_async(rows: AsyncIterable[Any], size: int) -> AsyncGenerator[list[Any]]:
    """Slow rows do not wait until a page is full: a page ends with the time slice."""
    page: list[Any] = []
    time_slice = TimeSlice()
    try:
        async for row in rows:
            page.append(row)
            if len(page) >= size or time_slice.expired:
                yield page
                page = []
                await time_slice.pause()
        if page:
            yield page
    finally:
        if isinstance(rows, AsyncGenerator):
            await rows.aclose()


async def _pages_in_thread(rows: Iterable[Any], size: int) -> AsyncGenerator[list[Any]]:
    batches = batched(rows, size)
    while page := await sync_to_async(lambda: list(next(batches, ())))():
        yield page
