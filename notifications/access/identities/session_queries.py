"""The two queries for a session and its user, whose SQL is compiled once for each connection.

Django builds and compiles the SQL of every query anew, which costs several times what the database
needs for a row by its primary key. Django's own code still executes these queries and makes the
instances: cursors, converters, signals and `from_db` are as for any query. Where many wait at the
same moment, two queries read the rows of all: see `sessions_together`.

Whatever is not exactly Django's own (a store, a backend, a manager, a primary key of another kind)
is left to Django, and so is every session that has no user in the end.
"""

# ruff: noqa: SLF001 - docs/extend.md lists them

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import FunctionType
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, backends
from django.contrib.auth import middleware as auth_middleware
from django.contrib.sessions.backends import db as database_sessions
from django.core.exceptions import EmptyResultSet, FullResultSet, ValidationError
from django.db import connections, models
from django.db.models.manager import BaseManager
from django.db.models.query import MAX_GET_RESULTS, ModelIterable
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject, empty

MAX_INTEGER_KEY = 2**31 - 1
"""For a key that no column can hold Django asks no database, and so this module asks none."""

READ = "_carillon_read"
"""On a store: its data, which was read together with those of others."""

_prepared = threading.local()


class _Unprepared(Exception):
    """Django's own way has to be taken."""


class _PreparedGet:
    """One `get` of a manager on one connection."""

    def __init__(self, manager: Any, alias: str, lookups: dict[str, Any]) -> None:
        self.connection = connections[alias]
        queryset = manager.using(alias).filter(**lookups).order_by()[:MAX_GET_RESULTS]
        compiler: Any = queryset.query.get_compiler(using=alias)
        try:
            sql, params = compiler.as_sql()
        except (EmptyResultSet, FullResultSet):
            raise _Unprepared from None
        self._params = self._values_of(manager.model, lookups)
        if tuple(params) != self._params:
            raise _Unprepared
        compiler.as_sql = lambda *_, **__: (sql, self._params)
        queryset.query.get_compiler = lambda *_, **__: compiler
        self._rows: Iterable[Any] = ModelIterable(queryset)

    def instances(self, model: Any, lookups: dict[str, Any]) -> list[Any]:
        self._params = self._values_of(model, lookups)
        return list(self._rows)

    def _values_of(self, model: Any, lookups: dict[str, Any]) -> tuple[Any, ...]:
        """The parameters of the query, as the lookups of Django prepare them."""
        return tuple(
            model._meta.get_field(name.partition("__")[0]).get_db_prep_value(value, self.connection)
            for name, value in sorted(lookups.items())  # as `filter` does
        )


def _get(manager: Any, key: Any, **lookups: Any) -> Any:
    """The only instance with this primary key, or None if there is none. Raises `_Unprepared`."""
    if not is_plain(manager):
        raise _Unprepared
    model, alias = manager.model, manager.db
    lookups[model._meta.pk.name] = key
    known: dict[Any, _PreparedGet] = vars(_prepared)
    prepared = known.get((model, alias))
    if prepared is None or prepared.connection is not connections[alias]:
        prepared = known[model, alias] = _PreparedGet(manager, alias, lookups)
    found = prepared.instances(model, lookups)
    if len(found) > 1:
        raise _Unprepared
    return found[0] if found else None


def is_plain(manager: Any) -> bool:
    """Whether the manager's `get` is that of a query set of Django's."""
    kind = type(manager)
    return (
        kind.get_queryset is BaseManager.get_queryset
        and kind.get is models.Manager.get
        and manager._queryset_class is models.QuerySet
    )


def is_own_of(module: Any, function: Any) -> bool:
    """Whether a function is the one of that module, and not what another package put there."""
    return type(function) is FunctionType and function.__globals__ is vars(module)


def load(store: Any, load: Any) -> dict[str, Any]:
    """What the `load` of a `SessionStore` returns."""
    if (known := vars(store).pop(READ, None)) is not None:
        return dict(known)
    if is_djangos_store(store, load):
        with suppress(_Unprepared):
            return _load(store)
    data: dict[str, Any] = load(store)
    return data


def is_djangos_store(store: Any, load: Any) -> bool:
    kind: Any = database_sessions.SessionStore
    return (
        type(store) is kind
        and is_own_of(database_sessions, load)
        and is_own_of(database_sessions, kind._get_session_from_db)
    )


def _load(store: Any) -> dict[str, Any]:
    sessions, now = store.model.objects, timezone.now()
    row = _get(sessions, store.session_key, expire_date__gt=now)
    if row is None:
        store._session_key = None
        return {}
    data: dict[str, Any] = store.decode(row.session_data)
    return data


def read_user(request: HttpRequest) -> None:
    """Read the session's user where Django's `request.user` would, and put it where it looks first.

    Does nothing if the user is known, if it comes from elsewhere, or if the session has none that
    is active and has the session's password.
    """
    if has_djangos_user(request):
        with suppress(_Unprepared):
            if user := _user_of(request.session):
                request._cached_user = user  # type: ignore[attr-defined]


def has_djangos_user(request: HttpRequest) -> bool:
    lazy: Any = request.user
    return (
        type(lazy) is SimpleLazyObject
        and vars(lazy)["_wrapped"] is empty
        and is_own_of(auth_middleware, vars(lazy).get("_setupfunc"))
        and is_own_of(auth_middleware, auth_middleware.get_user)
        and is_own_of(auth, auth.get_user)
        and not hasattr(request, "_cached_user")
    )


def _user_of(session: Any) -> Any:
    if (named := named_user(session)) is None:
        return None
    users: Any = backends.UserModel
    user = _get(users._default_manager, named.key)
    return user if user is not None and is_user_of(named, user) else None


def is_user_of(named: "Named", user: Any) -> bool:
    """Whether the user may have the session."""
    if not named.backend.user_can_authenticate(user):
        return False
    auth_hash = getattr(user, "get_session_auth_hash", None)
    return auth_hash is not None and constant_time_compare(named.verified_by, auth_hash())


class Named(NamedTuple):
    """What a session has of its user."""

    backend: Any
    key: int | UUID
    verified_by: str


def named_user(session: Any) -> Named | None:
    text, path = session.get(SESSION_KEY), session.get(BACKEND_SESSION_KEY)
    verified_by = session.get(HASH_SESSION_KEY)
    if text is None or not verified_by or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    backend: Any = auth.load_backend(path)
    if type(backend).get_user is not backends.ModelBackend.get_user or not is_own_of(
        backends, backends.ModelBackend.get_user
    ):
        return None
    key = _parsed_key(backends.UserModel, text)
    return None if key is None else Named(backend, key, verified_by)


def _parsed_key(model: Any, text: Any) -> int | UUID | None:
    field = model._meta.pk
    if type(field) not in (models.AutoField, models.BigAutoField, models.UUIDField):
        return None
    try:
        key = field.to_python(text)
    except ValidationError:
        return None
    if isinstance(key, UUID) or (type(key) is int and 0 < key <= MAX_INTEGER_KEY):
        return key
    return None
