"""The sessions of many requests, and their users, by two queries for all of them.

Nothing of the site's own runs there, since that may depend on the request: wherever it would, each
request reads its session by itself.
"""

# ruff: noqa: SLF001 - docs/extend.md lists them

import re
from collections.abc import Collection, Mapping
from functools import cache
from inspect import getattr_static
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth import SESSION_KEY, backends
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends import base as sessions
from django.contrib.sessions.backends import db as database_sessions
from django.core.signing import JSONSerializer
from django.db import connections, models
from django.db.models import signals
from django.http import HttpRequest
from django.utils import timezone

from notifications.access import loaded_values
from notifications.access.identities.session_queries import (
    READ,
    Named,
    has_djangos_user,
    is_djangos_store,
    is_own_of,
    is_plain,
    is_user_of,
    named_user,
)
from notifications.asgi.session_user import is_unread_session_user

_own_key = re.compile("[a-z0-9]{32}").fullmatch
_DJANGOS_ENGINES = ("django.db.backends.", "django.contrib.gis.db.backends.")


class Found(NamedTuple):
    """A session's data, and its user."""

    data: Mapping[str, Any]
    user: Any


def is_djangos(request: HttpRequest) -> bool:
    """Whether the session and its user are exactly Django's own, and nothing has read them."""
    store: Any = getattr(request, "session", None)
    # The user of a copy reads the session of another request.
    if store is None or not is_unread_session_user(request) or not has_djangos_user(request):
        return False
    load = getattr(type(store), "load", None)
    users: Any = backends.UserModel
    base: Any = AbstractBaseUser
    return (
        is_djangos_store(store, getattr(load, "__wrapped__", None))
        and _own_key(store.session_key or "") is not None
        and "_session_cache" not in vars(store)
        and store.serializer is JSONSerializer
        and is_own_of(sessions, type(store).decode)
        and all(map(_is_djangos_model, (store.model.objects, users._default_manager)))
        and issubclass(users, AbstractBaseUser)
        and users.get_session_auth_hash is base.get_session_auth_hash
        and users._get_session_auth_hash is base._get_session_auth_hash
    )


def _is_djangos_model(manager: Any) -> bool:
    """Whether to read an instance runs nothing that the site has written."""
    model, base = manager.model, models.Model
    from_db: Any = getattr(model.from_db, "__func__", None)
    if is_own_of(loaded_values, from_db):
        from_db = from_db.keeps_loaded_values
    return (
        is_plain(manager)
        and from_db is base.from_db.__func__  # type: ignore[attr-defined]
        and model.__init__ is base.__init__
        and _has_djangos_attributes(model)
        and not signals.pre_init.has_listeners(model)
        and not signals.post_init.has_listeners(model)
        # `connections[…]` would make a connection for each request: this is the event loop.
        and connections.settings[manager.db]["ENGINE"].startswith(_DJANGOS_ENGINES)
    )


@cache
def _has_djangos_attributes(model: Any) -> bool:
    """Whether to set and get what an instance has of its row runs nothing of the site's."""
    base, is_active = models.Model, getattr_static(model, "is_active", True)
    return (
        model.__setattr__ is base.__setattr__
        and model.__getattribute__ is base.__getattribute__
        and not hasattr(model, "__getattr__")
        and (isinstance(is_active, bool) or _is_of_django(type(is_active)))
        and all(_is_djangos_field(model, field) for field in model._meta.concrete_fields)
    )


def _is_djangos_field(model: Any, field: Any) -> bool:
    kind = type(field)
    conversions = kind.get_db_converters, getattr(kind, "from_db_value", kind.get_db_converters)
    descriptor = type(getattr_static(model, field.attname))
    return all(map(_is_of_django, (descriptor, *conversions)))


def _is_of_django(each: Any) -> bool:
    return bool(each.__module__.startswith("django."))


def read_together(keys: Collection[str]) -> dict[str, Found]:
    """The sessions with these keys and their users, by two queries.

    A session without an entry has to be read by itself: it has no user in the end, or another
    session of the same user has an entry, since an instance belongs to one request. Raises what the
    database raises.
    """
    kind: Any = database_sessions.SessionStore
    sessions: Any = kind.get_model_class()
    users: Any = backends.UserModel
    if any(map(_is_watched, (sessions.objects, users._default_manager))):
        return {}
    # Of the query sets, since Django asks a manager for `get` alone, and others may be the site's.
    rows = sessions.objects.get_queryset().filter(
        session_key__in=keys, expire_date__gt=timezone.now()
    )
    named = dict[int | UUID, tuple[str, Mapping[str, Any], Named]]()
    for row in rows:
        data = kind(row.session_key).decode(row.session_data)
        if (user := named_user(data)) is not None and _is_djangos_backend(user.backend):
            named.setdefault(user.key, (row.session_key, data, user))
    found = users._default_manager.get_queryset().in_bulk(named)
    return {
        key: Found(data, found[pk])
        for pk, (key, data, user) in named.items()
        if pk in found and is_user_of(user, found[pk])
    }


def _is_watched(manager: Any) -> bool:
    """Whether something of the site's is called with each query."""
    connection = connections[manager.db]
    connection.ensure_connection()  # a receiver of `connection_created` may install it
    return bool(connection.execute_wrappers)


def _is_djangos_backend(backend: Any) -> bool:
    own = backends.ModelBackend.user_can_authenticate
    return type(backend).user_can_authenticate is own and is_own_of(backends, own)


def use(request: HttpRequest, found: Found) -> None:
    """Give a request that `is_djangos` what was found of its session."""
    vars(request.session)[READ] = found.data
    request.session.get(SESSION_KEY)  # loads it, as if it came from the database
    request._cached_user = found.user  # type: ignore[attr-defined]
