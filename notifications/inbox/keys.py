"""Many keys in one statement: on PostgreSQL they are one array, and elsewhere a parameter each.

A parameter costs Django and the driver more than PostgreSQL needs to find its row.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, BigAutoField, BooleanField, F, Field, Lookup, UUIDField
from django.db.models.lookups import In
from django.db.models.sql.compiler import SQLCompiler


class IsAmong(Lookup):
    """The condition that a column of keys has one of these values: as `__in`, but cheaper."""

    prepare_rhs = False
    output_field = BooleanField()

    def __init__(self, column: Any, keys: Iterable[Any]) -> None:
        super().__init__(F(column) if isinstance(column, str) else column, list(keys))

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        sql, params = In(self.lhs, self.rhs).as_sql(compiler, connection)
        return sql, (*params,)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.lhs)
        array, keys = array_of(self.lhs.output_field, self.rhs, connection)
        return f"{column} = ANY({array})", (*params, keys)


def array_of(
    field: "Field[Any, Any]", values: Iterable[Any], connection: BaseDatabaseWrapper
) -> tuple[str, str]:
    """The SQL of an array of PostgreSQL, and its parameter: these values of a column."""
    while field.is_relation:
        field = field.target_field  # type: ignore[attr-defined]
    stored = values
    if not _is_stored_as_it_is(field):
        stored = (field.get_db_prep_value(value, connection) for value in values)
    # Without its length, which would cut a key that is longer than any in the table.
    type = str(field.rel_db_type(connection)).partition("(")[0].strip()
    if type in ("char", "character"):  # these have one letter where there is no length
        type = "bpchar"
    return f"%s::{type}[]", "{" + ",".join(map(_element, stored)) + "}"


def _is_stored_as_it_is(field: "Field[Any, Any]") -> bool:
    """Whether a key of PostgreSQL is what the column has: to ask it of each takes long."""
    return type(field) in (UUIDField, AutoField, BigAutoField)


def _element(value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, UUID):
        return value.hex
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
