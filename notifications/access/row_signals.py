"""Row signals: a user, group, permission or key that is changed through any class of its row.

The handlers are connected to each class that stores such a row, also to those that are defined
later, and to no other: a handler of every model would cost each save of the site, and Django's
fast deletions.
"""

# ruff: noqa: SLF001 - Django documents `_meta`, `_state` and the managers

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.signals import setting_changed
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save

from notifications.access import assignments, loaded_values
from notifications.access.identities import api_keys
from notifications.access.rows import AnyField, AnyModel, RowLink, row_link
from notifications.access.user_fields import relevant_user_fields
from notifications.hub.grants import user_subject
from notifications.log.entries import EVERYONE, ControlEntry
from notifications.models import ApiKey
from notifications.publishing.control import recheck_streams_on_commit

UID = "carillon.rows"
_KEY = "key:"
NEVER_RELEVANT = "last_login"
"""Each login saves it, and no permission depends on it unless `user_fields` names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A kind of row on which permissions depend, by its `fields`; None: by every one of them."""

    model: AnyModel
    fields: Callable[[], Collection[str] | None]
    subject: Callable[[object], str]


@dataclass(frozen=True, slots=True, eq=False)
class _Role:
    """What a class is to a kind of row."""

    watched: Watched
    link: RowLink

    def relevant(self, update_fields: Collection[str] | None) -> list[AnyField]:
        """The fields of the class that a save may have changed and that matter."""
        names = self.watched.fields()
        fields = [
            field
            for name, field in self.link.fields.items()
            if (name != NEVER_RELEVANT if names is None else name in names)
        ]
        if update_fields is None:
            return fields
        return [f for f in fields if not {f.name, f.attname}.isdisjoint(update_fields)]

    def subjects(self, instance: Model, using: str) -> list[str]:
        return [self.watched.subject(pk) for pk in self.link.primary_keys(instance, using)]


_roles: WeakKeyDictionary[AnyModel, tuple[_Role, ...]] = WeakKeyDictionary()


def connect() -> None:
    """Connects the handlers: call it when Django's applications are loaded."""
    class_prepared.connect(_on_class_prepared, dispatch_uid=UID)
    setting_changed.connect(_on_setting_changed, dispatch_uid=UID)
    _connect_all()


def _connect_all() -> None:
    _roles.clear()
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        _connect_class(model)


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "AUTH_USER_MODEL":
        _connect_all()


def _on_class_prepared(*, sender: AnyModel, **_: Any) -> None:
    """The foreign keys of the class are resolved only when it is registered, right after this."""
    meta = sender._meta
    meta.apps.lazy_model_operation(_connect_class, (meta.app_label, meta.model_name))


def _connect_class(cls: AnyModel) -> None:
    roles = _roles_of(cls)
    if roles:
        post_save.connect(_on_saved, sender=cls, dispatch_uid=UID)
    if any(role.link.is_deleted for role in roles):
        post_delete.connect(_on_deleted, sender=cls, dispatch_uid=UID)
    is_assignment = assignments.is_assignment(cls)
    if is_assignment:
        m2m_changed.connect(_on_m2m_changed, sender=cls, dispatch_uid=UID)
        if not cls._meta.auto_created:
            post_save.connect(_on_assignment_saved, sender=cls, dispatch_uid=UID)
            post_delete.connect(_on_assignment_deleted, sender=cls, dispatch_uid=UID)
    if roles or (is_assignment and not cls._meta.auto_created):
        loaded_values.keep_loaded_values(cls)


def _roles_of(cls: AnyModel) -> tuple[_Role, ...]:
    known = _roles.get(cls)
    if known is None:
        links = ((watched, row_link(cls, watched.model)) for watched in _watched())
        known = _roles[cls] = tuple(_Role(watched, link) for watched, link in links if link)
    return known


def _watched() -> Iterator[Watched]:
    yield Watched(get_user_model(), relevant_user_fields, user_subject)
    for model in assignments.group_models():
        yield Watched(model, partial(_group_fields, model), _everyone)
    yield Watched(Permission, lambda: ("codename", "content_type"), _everyone)
    yield Watched(ContentType, lambda: ("app_label", "model"), _everyone)
    yield Watched(ApiKey, lambda: None, _key_subject)


def _group_fields(model: AnyModel) -> Collection[str] | None:
    """`group()` asks for the name; rules that depend on any field of a user may depend on all."""
    is_named = any(field.name == "name" for field in model._meta.concrete_fields)
    return ("name",) if is_named and relevant_user_fields() is not None else None


def _everyone(_: object) -> str:
    return EVERYONE


def _key_subject(pk: object) -> str:
    return f"{_KEY}{pk}"


# What is saved and deleted


def _on_saved(
    *,
    sender: AnyModel,
    instance: Model,
    created: bool,
    using: str,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    subjects: list[str] = []
    keeps = False
    for role in _roles_of(sender):
        if created and role.link.is_whole:
            keeps = True
            continue  # no stream can be that of a row that is new
        fields = role.relevant(update_fields)
        if not fields:
            continue
        names = {role.link.attname, *(field.attname for field in fields)}
        changed, found = _subjects_of_change(role, instance, names, using)
        keeps |= changed
        subjects += found
    if subjects:
        _recheck(subjects, using)
    if keeps:
        old = loaded_values.old_values(instance, subjects, using)
        loaded_values.keep_saved_values(instance, update_fields, old, using)


def _subjects_of_change(
    role: _Role, instance: Model, names: set[str], using: str
) -> tuple[bool, list[str]]:
    """Whether the row may have changed, and the subjects that this is about."""
    if role.link.lookup is not None:  # the subject is known only by a query: the fields come first
        if not loaded_values.is_changed(
            instance, names, loaded_values.old_values(instance, (), using)
        ):
            return False, []
        return True, role.subjects(instance, using)
    subjects = role.subjects(instance, using)
    old = loaded_values.old_values(instance, subjects, using)
    changed = loaded_values.is_changed(instance, names, old)
    return changed, subjects if changed else []


def _on_deleted(*, sender: AnyModel, instance: Model, using: str, **_: Any) -> None:
    for role in _roles_of(sender):
        if role.link.is_deleted:
            _recheck(role.subjects(instance, using), using)


# Who has which group or permission


def _on_m2m_changed(
    *,
    instance: Model,
    action: str,
    model: AnyModel,
    pk_set: set[object] | None,
    using: str,
    sender: AnyModel,
    **_: Any,
) -> None:
    """`instance` is a user, and `pk_set` has groups or permissions, or it is the other way round.

    `pk_set` is None where all of them were taken away.
    """
    if action not in {"post_add", "post_remove", "post_clear"}:
        return
    if pk_set is not None and not pk_set:
        return
    user = row_link(type(instance), get_user_model())
    if user is not None:
        subjects = [user_subject(pk) for pk in user.primary_keys(instance, using)]
    elif pk_set is not None and assignments.names_users(sender):
        subjects = [user_subject(pk) for pk in pk_set]
    else:
        subjects = [EVERYONE]
    _recheck(subjects, using)


def _on_assignment_saved(
    *,
    instance: Model,
    created: bool,
    using: str,
    update_fields: Collection[str] | None = None,
    **_: Any,
) -> None:
    names = assignments.key_attnames(type(instance), update_fields)
    if not names:
        return
    subjects = assignments.subjects(vars(instance), type(instance))
    if not created:
        old = loaded_values.old_values(instance, subjects, using)
        if not loaded_values.is_changed(instance, names, old):
            return
        known = old is not None and names <= old.keys()
        subjects += assignments.subjects(old or {}, type(instance)) if known else [EVERYONE]
    _recheck(subjects, using)
    loaded_values.keep_saved_values(instance, update_fields, None, using)


def _on_assignment_deleted(*, instance: Model, using: str, **_: Any) -> None:
    _recheck(assignments.subjects(vars(instance), type(instance)), using)


def _recheck(subjects: Iterable[str], using: str) -> None:
    subjects = tuple(dict.fromkeys(subjects))
    if not subjects:
        return
    if EVERYONE in subjects:
        subjects = (EVERYONE,)
    transaction.on_commit(partial(_note_changes, subjects), using=using, robust=True)
    recheck_streams_on_commit(*subjects, using=using)


def on_control(control: ControlEntry) -> None:
    """Another process may have changed these keys and users."""
    _note_changes(control.subjects)


def _note_changes(subjects: Collection[str]) -> None:
    """What this process remembers of these subjects is out of date."""
    for subject in subjects:
        if subject.startswith(_KEY):
            api_keys.forget(subject)
    loaded_values.note_changes(subjects, everyone=EVERYONE)
