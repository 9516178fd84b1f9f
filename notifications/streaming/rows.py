"""Rows from wherever they come, some at a time: what a table that is streamed is made of.

A QuerySet is read by its primary key, page by page, each page a query of its own. `aiterator` would
keep a cursor open for as long as the slowest client takes: on PostgreSQL with the whole result
stored on the server, and nothing left for a pool in between; on SQLite as a read that nobody's
writes get past.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from itertools import batched
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable, NamedValuesListIterable, ValuesIterable

from notifications.hub.scheduling import TimeSlice

type Rows = QuerySet[Any, Any] | AsyncIterable[Any] | Iterable[Any]


async def pages(rows: Rows, *, size: int) -> AsyncGenerator[list[Any]]:
    """All rows in lists of up to `size`. What may block runs in a thread."""
    if isinstance(rows, QuerySet):
        source = _by_key(rows, size)
    elif isinstance(rows, AsyncIterable):
        source = _gathered(rows, size)
    else:
        source = _in_thread(rows, size)
    async with aclosing(source):
        async for page in source:
            yield page


def check(rows: Rows) -> None:
    """Raises `ValueError` for a QuerySet that cannot be read by its key."""
    if not isinstance(rows, QuerySet):
        return
    query = rows.query
    key = _key(rows)
    own = {"pk", key}
    if query.is_sliced:
        raise ValueError("A QuerySet that is sliced cannot be read page by page: filter it.")
    if query.combinator or query.distinct_fields:
        raise ValueError("A combined QuerySet cannot be read page by page: give its aiterator().")
    if len(query.order_by) > 1 or not {str(each).lstrip("-") for each in query.order_by} <= own:
        raise ValueError(
            "A QuerySet is read in the order of its primary key. To keep another order, give its "
            "aiterator(), which holds a cursor open in the database until the client has it all."
        )
    if rows._iterable_class not in (ModelIterable, ValuesIterable, NamedValuesListIterable):  # noqa: SLF001
        raise ValueError("Use values() or values_list(named=True): a row must know its key.")
    if query.values_select and not own.intersection(query.values_select):
        raise ValueError(f"Add {key!r} to values(): the QuerySet is read by it.")


async def _by_key(rows: QuerySet[Any, Any], size: int) -> AsyncGenerator[list[Any]]:
    backwards = [str(each) for each in rows.query.order_by][:1] in (["-pk"], [f"-{_key(rows)}"])
    further = "pk__lt" if backwards else "pk__gt"
    ordered = rows.order_by("-pk" if backwards else "pk")
    last: Any = None
    while True:
        following = ordered if last is None else ordered.filter(**{further: last})
        page: list[Any] = await sync_to_async(lambda query: list(query[:size]))(following)
        if page:
            yield page
            last = _key_of(page[-1], _key(rows))
        if len(page) < size:
            return


def _key(rows: QuerySet[Any, Any]) -> str:
    name: str = rows.model._meta.pk.name  # noqa: SLF001 - Django's public name for it
    return name


def _key_of(row: Any, key: str) -> Any:
    if isinstance(row, Model):
        return row.pk
    if isinstance(row, dict):
        return row["pk"] if "pk" in row else row[key]
    return getattr(row, key)  # values_list(named=True)


async def _gathered(rows: AsyncIterable[Any], size: int) -> AsyncGenerator[list[Any]]:
    """What comes slowly is not kept waiting for the rest of a page."""
    page: list[Any] = []
    time_slice = TimeSlice()
    try:
        async for row in rows:
            page.append(row)
            if len(page) >= size or time_slice.due:
                yield page
                page = []
                await time_slice.take()
        if page:
            yield page
    finally:
        if isinstance(rows, AsyncGenerator):
            await rows.aclose()


async def _in_thread(rows: Iterable[Any], size: int) -> AsyncGenerator[list[Any]]:
    source = batched(rows, size)
    while page := await sync_to_async(lambda: list(next(source, ())))():
        yield page
