"""The two queries for a session and its user, whose SQL is compiled once for each connection.

Django builds and compiles the SQL of every query anew, which costs several times what the database
needs for a row by its primary key. Django's own code still executes these queries and makes the
instances: cursors, converters, signals and `from_db` are as for any query.

Whatever is not exactly Django's own (a store, a backend, a manager, a primary key of another kind)
is left to Django, and so is every session that has no user in the end.
"""

# ruff: noqa: SLF001 - docs/extend.md lists them

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import FunctionType
from typing import Any
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


def _get(manager: Any, **lookups: Any) -> Any:
    """The only instance, or None if there is none. Raises `_Unprepared`."""
    if not _is_plain(manager):
        raise _Unprepared
    model, alias = manager.model, manager.db
    known: dict[Any, _PreparedGet] = vars(_prepared)
    prepared = known.get((model, alias))
    if prepared is None or prepared.connection is not connections[alias]:
        prepared = known[model, alias] = _PreparedGet(manager, alias, lookups)
    found = prepared.instances(model, lookups)
    if len(found) > 1:
        raise _Unprepared
    return found[0] if found else None


def _is_plain(manager: Any) -> bool:
    """Whether the manager's `get` is that of a query set of Django's."""
    kind = type(manager)
    return (
        kind.get_queryset is BaseManager.get_queryset
        and kind.get is models.Manager.get
        and manager._queryset_class is models.QuerySet
    )


def _is_own_of(module: Any, function: Any) -> bool:
    """Whether a function is the one of that module, and not what another package put there."""
    return type(function) is FunctionType and function.__globals__ is vars(module)


def load(store: Any, load: Any) -> dict[str, Any]:
    """What the `load` of a `SessionStore` returns."""
    kind: Any = database_sessions.SessionStore
    if (
        type(store) is kind
        and _is_own_of(database_sessions, load)
        and _is_own_of(database_sessions, kind._get_session_from_db)
    ):
        with suppress(_Unprepared):
            return _load(store)
    data: dict[str, Any] = load(store)
    return data


def _load(store: Any) -> dict[str, Any]:
    sessions, now = store.model.objects, timezone.now()
    row = _get(sessions, session_key=store.session_key, expire_date__gt=now)
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
    lazy: Any = request.user
    if (
        type(lazy) is SimpleLazyObject
        and vars(lazy)["_wrapped"] is empty
        and _is_own_of(auth_middleware, vars(lazy).get("_setupfunc"))
        and _is_own_of(auth_middleware, auth_middleware.get_user)
        and _is_own_of(auth, auth.get_user)
        and not hasattr(request, "_cached_user")
    ):
        try:
            user = _user_of(request.session)
        except _Unprepared:
            return
        if user:
            request._cached_user = user  # type: ignore[attr-defined]


def _user_of(session: Any) -> Any:
    text, path = session.get(SESSION_KEY), session.get(BACKEND_SESSION_KEY)
    verified_by = session.get(HASH_SESSION_KEY)
    if text is None or not verified_by or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    backend: Any = auth.load_backend(path)
    if type(backend).get_user is not backends.ModelBackend.get_user or not _is_own_of(
        backends, backends.ModelBackend.get_user
    ):
        return None
    model: Any = backends.UserModel
    key = _parsed_key(model, text)
    lookups = {model._meta.pk.name: key}
    user = None if key is None else _get(model._default_manager, **lookups)
    if user is None or not backend.user_can_authenticate(user):
        return None
    auth_hash = getattr(user, "get_session_auth_hash", None)
    verified = auth_hash is not None and constant_time_compare(verified_by, auth_hash())
    return user if verified else None


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
