"""Inserting rows that are alike, at a fraction of what `bulk_create` costs.

What is null stays out of the statement, and no model is made for a row.
"""

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.sql import InsertQuery

from notifications.inbox.keys import array_of


def insert_alike(alike: Model, varying: Mapping[str, Collection[Any]], *, using: str) -> None:
    """Insert as many rows as each of these columns has values, which are else as this one."""
    meta = type(alike)._meta  # noqa: SLF001 - documented
    values = {meta.get_field(name): each for name, each in varying.items()}
    same = {
        column: value
        for column in meta.concrete_fields
        if column not in values and (value := getattr(alike, column.attname)) is not None
    }
    connection = connections[using]
    insert = _insert_arrays if connection.vendor == "postgresql" else _insert_rows
    insert(values, same, type(alike), connection)


type Varying = Mapping[Any, Collection[Any]]
"""Columns with a value for each row."""
type Same = Mapping[Any, Any]
"""Columns with one value for all rows."""


def _insert_arrays(
    varying: Varying, same: Same, model: type[Model], connection: BaseDatabaseWrapper
) -> None:
    """By one statement that has an array for each column, and what is the same only once."""
    quote = connection.ops.quote_name
    columns = ", ".join(quote(column.column) for column in (*varying, *same))
    arrays = [array_of(column, values, connection) for column, values in varying.items()]
    selected = [*(f"unnest({array})" for array, _ in arrays), *("%s" for _ in same)]
    stored = [column.get_db_prep_save(value, connection) for column, value in same.items()]
    table = quote(model._meta.db_table)  # noqa: SLF001 - documented
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(selected)}",
            [*(array for _, array in arrays), *stored],
        )


def _insert_rows(
    varying: Varying, same: Same, model: type[Model], connection: BaseDatabaseWrapper
) -> None:
    columns = [*varying, *same]
    common = {column.attname: value for column, value in same.items()}
    names = [column.attname for column in varying]
    new: list[Any] = [
        SimpleNamespace(**common, **dict(zip(names, values, strict=True)))
        for values in zip(*varying.values(), strict=True)
    ]
    most = max(1, connection.ops.bulk_batch_size(columns, new))
    for first in range(0, len(new), most):
        query = InsertQuery(model)
        query.insert_values(columns, new[first : first + most], raw=True)
        query.get_compiler(connection=connection).execute_sql()
