"""Rows: which classes store the same row of the database, whatever their relation in Python is.

A class is recognised by its tables: a proxy, a child, a concrete parent, another child of that
parent, an unmanaged second model and the historical model of a migration all write to a table of
the model that they stand for.
"""

# ruff: noqa: SLF001 - Django documents `_meta`, `_state` and the managers

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Field, Model

type AnyModel = type[Model]
type AnyField = Field[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class RowLink:
    """How the instances of one class name the row of `model` that they are stored in.

    `attname` is their attribute that finds the row; it is the primary key of the model, or, with a
    `lookup`, the value of that field of the model. `fields` are the fields of the class by the name
    of the field of the model that has the same column. `is_whole`: saving an instance for the first
    time makes the row. `is_deleted`: deleting an instance deletes the row.
    """

    model: AnyModel
    attname: str
    lookup: str | None
    fields: Mapping[str, AnyField]
    is_whole: bool
    is_deleted: bool

    def primary_keys(self, instance: Model, using: str) -> Collection[object]:
        """Those of the rows of the model: mostly one. A query only where there is a `lookup`."""
        value = getattr(instance, self.attname)
        if value is None:
            return ()
        if self.lookup is None:
            return (value,)
        rows = self.model._base_manager.using(using)
        return list(rows.filter(**{self.lookup: value}).values_list("pk", flat=True))


def row_link(cls: AnyModel, model: AnyModel) -> RowLink | None:
    """None where instances of the class are not stored in a row of the model."""
    theirs, ours = tables(cls), tables(model)
    shared = next((table for table in ours if table in theirs), None)
    if shared is None:
        return None
    columns = {(_table(field), field.column): field for field in cls._meta.concrete_fields}
    fields = {
        field.name: columns[column]
        for field in model._meta.concrete_fields
        if (column := (_table(field), field.column)) in columns
    }
    return RowLink(
        model,
        theirs[shared]._meta.pk.attname,
        None if _has_key_of(model, shared) else ours[shared]._meta.pk.name,
        fields,
        is_whole=shared == cls._meta.db_table,
        is_deleted=model._meta.db_table in theirs,
    )


def tables(cls: AnyModel) -> dict[str, AnyModel]:
    """The tables that hold an instance of the class, and the class of each; its own table first."""
    classes = (cls, *cls._meta.all_parents)
    return {each._meta.db_table: each for each in classes if not each._meta.abstract}


def references(cls: AnyModel) -> list[tuple[AnyField, AnyModel]]:
    """The foreign keys of the class, and the models whose rows they name."""
    found: list[tuple[AnyField, AnyModel]] = []
    for field in cls._meta.concrete_fields:
        remote = getattr(field.remote_field, "model", None)
        if isinstance(remote, type) and issubclass(remote, Model):
            found.append((field, remote))
    return found


def names_primary_key(field: AnyField, model: AnyModel) -> bool:
    """Whether the values of a foreign key are primary keys of the model."""
    target = getattr(field, "target_field", None)
    while target is not None and getattr(target.remote_field, "parent_link", False):
        target = target.target_field  # the key of a child is that of its parent
    return target is not None and target.primary_key and _has_key_of(model, _table(target))


def _table(field: AnyField) -> str:
    return str(field.model._meta.db_table)


def _has_key_of(model: AnyModel, table: str) -> bool:
    """Whether the primary key of the model is that of its part in the table."""
    while model._meta.db_table != table:
        key: Any = model._meta.pk
        if not getattr(key.remote_field, "parent_link", False):
            return False
        model = key.remote_field.model
    return True
