"""Assignments: the rows that give a user or a group a group or a permission.

They are recognised by their foreign keys: the tables of Django's own relations, the `through` model
of a relation of the site, and the permissions of objects that django-guardian keeps.
"""

# ruff: noqa: SLF001 - Django documents `_meta`, `_state` and the managers

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission

from notifications.access.rows import (
    AnyField,
    AnyModel,
    names_primary_key,
    references,
    tables,
)
from notifications.hub.grants import user_subject
from notifications.log.entries import EVERYONE


def group_models() -> Iterator[AnyModel]:
    """Django's group model, and the one that the user model of the site has instead."""
    yield Group
    for field in get_user_model()._meta.many_to_many:
        if field.name == "groups" and field.related_model is not Group:
            yield field.related_model


def is_assignment(cls: AnyModel) -> bool:
    """Whether a row has both: whom it is about, and what that user or group gets."""
    users, groups, permissions = _keys(cls)
    return bool(users and groups) or bool(permissions and (users or groups))


def names_users(cls: AnyModel) -> bool:
    """Whether the row names its user by the primary key."""
    users, _, _ = _keys(cls)
    return bool(users) and all(names_primary_key(key, get_user_model()) for key in users)


def key_attnames(cls: AnyModel, update_fields: Collection[str] | None) -> set[str]:
    """The keys that a save of the row may have changed."""
    keys = [key for kind in _keys(cls) for key in kind]
    if update_fields is not None:
        keys = [key for key in keys if not {key.name, key.attname}.isdisjoint(update_fields)]
    return {key.attname for key in keys}


def subjects(values: Mapping[str, Any], cls: AnyModel) -> list[str]:
    """Whose permissions such a row is about."""
    users, _, _ = _keys(cls)
    if not users or not names_users(cls):
        return [EVERYONE]
    found = [values.get(key.attname) for key in users]
    return [user_subject(pk) for pk in found if pk is not None]


def _keys(cls: AnyModel) -> tuple[list[AnyField], list[AnyField], list[AnyField]]:
    """The foreign keys to users, to groups and to permissions."""
    kinds = [get_user_model()], list(group_models()), [Permission]
    keys = references(cls)
    if not keys:
        return [], [], []
    found = []
    for models in kinds:
        theirs = {table for model in models for table in tables(model)}
        found.append([key for key, remote in keys if not theirs.isdisjoint(tables(remote))])
    users, groups, permissions = found
    return users, groups, permissions
