"""User fields: which fields of a user permissions depend on, by rules, backends and user model."""

# ruff: noqa: SLF001 - Django documents `_meta`, `_state` and the managers

from collections.abc import Collection, Iterable
from functools import cache
from inspect import getattr_static
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.core.signals import setting_changed
from django.db.models import Field, GeneratedField, Manager
from django.dispatch import receiver
from django.utils.module_loading import import_string

from notifications.access.decision import active_rules
from notifications.access.rows import AnyField, AnyModel

ALWAYS = ("is_active", "is_staff", "is_superuser", "password")
_ASKED_OF_USERS = (
    *("has_perm", "get_all_permissions", "get_user_permissions", "get_group_permissions"),
    *("get_session_auth_hash", "get_session_auth_fallback_hash"),
    *("is_authenticated", "is_anonymous", "groups", "user_permissions"),
)
_ASKED_OF_BACKENDS = (
    *("get_user", "user_can_authenticate", "has_perm", "get_all_permissions"),
    *("get_user_permissions", "get_group_permissions"),
)
_KNOWN_MODULES = ("django.", "guardian.")
_SETTINGS = {
    *("CARILLON", "AUTH_USER_MODEL", "AUTHENTICATION_BACKENDS"),
    "EVENTSTREAM_CHANNELMANAGER_CLASS",
}


def relevant_user_fields() -> frozenset[str] | None:
    """The names of the fields; None where permissions may depend on every field."""
    try:
        return _relevant_fields()
    except Exception:  # noqa: BLE001 - rules with a fault must not make the saves of a site fail
        return None


@cache
def _relevant_fields() -> frozenset[str] | None:
    rules, user = active_rules(), get_user_model()
    if rules.user_fields is None or not (rules.declares_user_fields or _is_djangos(user)):
        return None
    named = set(rules.user_fields)
    if not rules.declares_user_fields:
        for path in settings.AUTHENTICATION_BACKENDS:
            fields = _fields_of_backend(path)
            if fields is None:
                return None
            named.update(fields)
    return _as_fields(user, named)


@receiver(setting_changed)
def _forget_fields(*, setting: str, **_: Any) -> None:
    if setting in _SETTINGS:
        _relevant_fields.cache_clear()


def _as_fields(user: AnyModel, named: Iterable[str]) -> frozenset[str] | None:
    """A name that is no field is computed, by a property or by the database, from any field."""
    fields = {field.name for name in ALWAYS if (field := _field(user, name)) is not None}
    for name in named:
        field = _field(user, "pk" if name == "id" else name)
        if field is None or isinstance(field, GeneratedField):
            return None
        fields.add(field.name)
    return frozenset(fields)


def _field(user: AnyModel, name: str) -> AnyField | None:
    if name == "pk":
        return user._meta.pk
    concrete = {field.attname: field for field in user._meta.concrete_fields}
    if name in concrete:
        return concrete[name]
    try:
        found = user._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return found if isinstance(found, Field) and found.concrete and not found.many_to_many else None


def _is_djangos(user: type[Any]) -> bool:
    """Whether this application asks only fields and Django's own methods of the user model."""
    if getattr(settings, "EVENTSTREAM_CHANNELMANAGER_CLASS", None):
        return False
    manager = type(user._default_manager)
    if manager.get_queryset is not Manager.get_queryset:
        return False  # it may hide users, which is how some sites remove them
    computed = [name for name in ALWAYS if not _is_stored(user, name)]
    return not computed and all(_is_known(user, name) for name in _ASKED_OF_USERS)


def _is_stored(user: AnyModel, name: str) -> bool:
    """Whether the attribute is a column or a constant, and no property even of the same name."""
    attribute = getattr_static(user, name, None)
    return attribute is None or isinstance(attribute, bool) or _is_of_a_field(attribute)


def _is_of_a_field(attribute: object) -> bool:
    return type(attribute).__module__.startswith("django.db.models.")


def _is_known(cls: type[Any], name: str) -> bool:
    """Whether the attribute is Django's, or a relation of its kind, or missing."""
    owner = next((each for each in cls.__mro__ if name in vars(each)), None)
    if owner is None or owner.__module__.startswith(_KNOWN_MODULES):
        return True
    return _is_of_a_field(vars(owner)[name])


def _fields_of_backend(path: str) -> Collection[str] | None:
    try:
        backend = import_string(path)
    except ImportError:
        return None
    declared: Collection[str] | None = getattr(backend, "user_fields", None)
    if declared is not None:
        return declared
    return () if all(_is_known(backend, name) for name in _ASKED_OF_BACKENDS) else None
