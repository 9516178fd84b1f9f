"""Checks of database settings that mean something else under ASGI than they did under WSGI."""

from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.urls import URLPattern, URLResolver, get_resolver

from notifications.checks.base import TAG
from notifications.checks.serving import streams_here

SHOWN = 3


@register(TAG)
def connections_end_with_requests(**_: Any) -> list[CheckMessage]:
    """carillon.W024"""
    if not _is_served_by_asgi():
        return []
    return [
        CheckWarning(
            f"DATABASES[{alias!r}] has CONN_MAX_AGE, and the site is served by ASGI: a connection "
            "is kept in whichever thread a request happened to have, and nothing bounds how many.",
            hint="Leave CONN_MAX_AGE at 0. To save connecting, use a pool: with PostgreSQL "
            'OPTIONS["pool"], or PgBouncer.',
            id="carillon.W024",
        )
        for alias in _databases_with("CONN_MAX_AGE")
    ]


@register(TAG)
def async_views_are_not_atomic(**_: Any) -> list[CheckMessage]:
    """carillon.W025: Django refuses such a view when it is called, and not before."""
    if not _is_served_by_asgi():
        return []
    return [
        CheckWarning(
            f"DATABASES[{alias!r}] has ATOMIC_REQUESTS, which no async view can have: "
            f"{', '.join(names[:SHOWN])}{' and others are' if names[SHOWN:] else ' is'} "
            "answered 500.",
            hint="Decorate those with django.db.transaction.non_atomic_requests, and publish by "
            "publish_on_commit where a transaction is open.",
            id="carillon.W025",
        )
        for alias in _databases_with("ATOMIC_REQUESTS")
        if (names := sorted(set(_refused_by(alias))))
    ]


def _is_served_by_asgi() -> bool:
    return streams_here() and bool(getattr(django_settings, "ASGI_APPLICATION", None))


def _databases_with(key: str) -> list[str]:
    # None, for a connection's age, is for ever.
    given = {alias: each.get(key, 0) for alias, each in django_settings.DATABASES.items()}
    return [alias for alias, value in given.items() if value is None or value]


def _refused_by(alias: str) -> Iterator[str]:
    for view in _views(get_resolver().url_patterns):
        atomic = alias not in getattr(view, "_non_atomic_requests", set())
        if atomic and _is_async(view):
            named = getattr(view, "view_class", view)
            yield f"{named.__module__}.{getattr(named, '__qualname__', type(named).__qualname__)}"


def _is_async(view: Any) -> bool:
    kind = getattr(view, "view_class", None)
    return iscoroutinefunction(view) or bool(kind and getattr(kind, "view_is_async", False))


def _views(patterns: list[URLPattern | URLResolver]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        else:
            yield pattern.callback
