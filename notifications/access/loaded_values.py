"""Loaded values: what the database had when an instance was read, to know what a save changes.

`post_init` would make reading a fifth slower. So this keeps what `Model.from_db` was called with,
on the classes that matter here and on no other. Values that were not kept, of an instance that was
made, unpickled or copied, are unknown, and the caller has to expect a change.
"""

# ruff: noqa: SLF001 - Django documents `_meta`, `_state` and the managers

import time
from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from functools import partial
from inspect import Parameter, signature
from typing import Any
from uuid import UUID

from django.db import router, transaction
from django.db.models import Model

MAX_CHANGES = 10_000
REPLICA_SECONDS = 60.0
"""A replica is trusted to have a change that is older."""
_COMPARABLE = (*(str, bytes, int, float, Decimal, UUID, date, time_of_day, timedelta, type(None)),)
"""Values of other types may have changed in place, and be equal to themselves all the same."""


class _Era:
    """A stretch of this process's life in which it learned of no change. Not known elsewhere."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _Era, (-1,)


_era = _Era(0)
_floor = 0
_changes: dict[str, tuple[int, float]] = {}

type _Loaded = tuple[_Era, str, Sequence[str], Sequence[Any]]
"""When, from which database, the names of attributes, and their values."""


def note_changes(subjects: Iterable[str], *, everyone: str) -> None:
    """The rows of these subjects have changed: what was loaded before is out of date."""
    global _era, _floor
    number = _era.number + 1
    for subject in subjects:
        if subject == everyone or len(_changes) >= MAX_CHANGES:
            _floor = number
            _changes.clear()
        _changes[subject] = number, time.monotonic()
    _era = _Era(number)


def keep_loaded_values(cls: type[Model]) -> None:
    """Keep what instances of the class are loaded with, from now on."""
    if not getattr(cls.from_db, "keeps_loaded_values", False):
        _wrap_from_db(cls)
    if not getattr(cls.refresh_from_db, "keeps_loaded_values", False):
        _wrap_refresh(cls)


def _wrap_from_db(cls: type[Model]) -> None:
    original: Any = getattr(cls.from_db, "__func__", cls.from_db)

    def from_db(
        cls: type[Model], db: str, field_names: Sequence[str], values: Sequence[Any], **mode: Any
    ) -> Model:
        instance: Model = original(cls, db, field_names, values, **mode)
        instance._state._carillon_loaded = (_era, db, field_names, values)  # type: ignore[attr-defined]
        return instance

    def from_db_with_mode(  # as Django 6.1 calls it: `**mode` alone would double what this costs
        cls: type[Model],
        db: str,
        field_names: Sequence[str],
        values: Sequence[Any],
        *,
        fetch_mode: Any = None,
    ) -> Model:
        instance: Model = original(cls, db, field_names, values, fetch_mode=fetch_mode)
        instance._state._carillon_loaded = (_era, db, field_names, values)  # type: ignore[attr-defined]
        return instance

    mode = signature(original).parameters.get("fetch_mode")
    has_mode = mode is not None and mode.kind is Parameter.KEYWORD_ONLY
    wrapper: Any = from_db_with_mode if has_mode else from_db
    wrapper.keeps_loaded_values = original
    setattr(cls, "from_db", classmethod(wrapper))  # noqa: B010 - a method


def _wrap_refresh(cls: type[Model]) -> None:
    original = cls.refresh_from_db

    def refresh_from_db(
        self: Model, using: str | None = None, fields: Any = None, *args: Any, **options: Any
    ) -> None:
        era, before = _era, _loaded(self)
        names = None if fields is None else tuple(fields)
        original(self, using, names, *args, **options)
        if names is None:
            _keep(self, era, self._state.db, _attnames(self))
        elif before is not None:
            attnames = {f.attname for f in self._meta.concrete_fields if f.name in names}
            _keep(self, before[0], before[1], attnames.union(names), before)

    refresh_from_db.keeps_loaded_values = True  # type: ignore[attr-defined]
    setattr(cls, "refresh_from_db", refresh_from_db)  # noqa: B010 - a method


def _loaded(instance: Model) -> _Loaded | None:
    return getattr(instance._state, "_carillon_loaded", None)


def _attnames(instance: Model) -> list[str]:
    return [field.attname for field in instance._meta.concrete_fields]


def _keep(
    instance: Model,
    era: _Era,
    db: str | None,
    attnames: Iterable[str],
    before: _Loaded | None = None,
) -> None:
    values = {} if before is None else dict(zip(before[2], before[3], strict=False))
    held = vars(instance)
    values |= {name: held[name] for name in attnames if name in held}
    instance._state._carillon_loaded = (era, db, tuple(values), tuple(values.values()))  # type: ignore[attr-defined]


def old_values(instance: Model, subjects: Iterable[str], using: str) -> dict[str, Any] | None:
    """What the row had before a save to `using`, by attribute; None where that is not known."""
    loaded = _loaded(instance)
    if loaded is None:
        return None
    era, db, names, values = loaded
    if era.number < _floor:
        return None
    is_elsewhere = db != using
    if is_elsewhere and router.db_for_write(type(instance)) != using:
        return None  # no replica of that database
    for subject in subjects:
        number, changed = _changes.get(subject, (0, 0.0))
        if era.number < number:
            return None
        if is_elsewhere and number and time.monotonic() - changed < REPLICA_SECONDS:
            return None
    return dict(zip(names, values, strict=False))


def is_changed(instance: Model, attnames: Collection[str], old: dict[str, Any] | None) -> bool:
    """Whether a save may have changed one of these attributes of the row."""
    held = vars(instance)
    if old is None or not all(name in old and name in held for name in attnames):
        return True
    return any(not _is_same(old[name], held[name]) for name in attnames)


def _is_same(old: object, new: object) -> bool:
    if not (isinstance(old, _COMPARABLE) and isinstance(new, _COMPARABLE)):
        return False
    return bool(old == new)


def keep_saved_values(
    instance: Model, update_fields: Collection[str] | None, old: dict[str, Any] | None, using: str
) -> None:
    """The row has these values once the transaction commits; until then they are unknown."""
    fields = instance._meta.concrete_fields
    held = vars(instance)
    values = {} if old is None else dict(old)
    for field in fields:
        saved = update_fields is None or not {field.name, field.attname}.isdisjoint(update_fields)
        if saved and field.attname in held:
            values[field.attname] = held[field.attname]
    instance._state._carillon_loaded = None  # type: ignore[attr-defined]
    transaction.on_commit(partial(_keep_values, instance, using, values), using=using, robust=True)


def _keep_values(instance: Model, using: str, values: dict[str, Any]) -> None:
    names, kept = tuple(values), tuple(values.values())
    instance._state._carillon_loaded = (_era, using, names, kept)  # type: ignore[attr-defined]
