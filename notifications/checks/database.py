"""Checks of database settings whose effect under ASGI differs from that under WSGI."""

from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.urls import URLPattern, URLResolver, get_resolver

from notifications.checks.base import TAG
from notifications.checks.serving import serves_streams
from notifications.streaming.django_internals import non_atomic_databases

MAX_NAMES = 3


@register(TAG)
def connections_end_with_requests(**_: Any) -> list[CheckMessage]:
    """carillon.W024"""
    if not _is_served_by_asgi():
        return []
    return [
        CheckWarning(
            f"DATABASES[{alias!r}] has CONN_MAX_AGE, and the site is served by ASGI: each "
            "thread that served a request keeps a connection, and nothing limits how many.",
            hint="Leave CONN_MAX_AGE at 0. To reuse connections, use a pool: with PostgreSQL "
            'OPTIONS["pool"], or PgBouncer.',
            id="carillon.W024",
        )
        for alias in _databases_with("CONN_MAX_AGE")
    ]


@register(TAG)
def async_views_are_not_atomic(**_: Any) -> list[CheckMessage]:
    """carillon.W025: Django itself refuses such a view only when it is called."""
    if not _is_served_by_asgi():
        return []
    return [
        CheckWarning(
            f"DATABASES[{alias!r}] has ATOMIC_REQUESTS, which async views do not support: "
            f"{', '.join(names[:MAX_NAMES])}{' and others are' if names[MAX_NAMES:] else ' is'} "
            "answered 500.",
            hint="Decorate those with django.db.transaction.non_atomic_requests, and publish by "
            "publish_on_commit where a transaction is open.",
            id="carillon.W025",
        )
        for alias in _databases_with("ATOMIC_REQUESTS")
        if (names := sorted(set(_refused_by(alias))))
    ]


def _is_served_by_asgi() -> bool:
    return serves_streams() and bool(getattr(django_settings, "ASGI_APPLICATION", None))


def _databases_with(key: str) -> list[str]:
    values = {alias: options.get(key, 0) for alias, options in django_settings.DATABASES.items()}
    # A CONN_MAX_AGE of None means no limit.
    return [alias for alias, value in values.items() if value is None or value]


def _refused_by(alias: str) -> Iterator[str]:
    for view in _views(get_resolver().url_patterns):
        if alias not in non_atomic_databases(view) and _is_async(view):
            target = getattr(view, "view_class", view)
            name = getattr(target, "__qualname__", type(target).__qualname__)
            yield f"{target.__module__}.{name}"


def _is_async(view: Any) -> bool:
    view_class = getattr(view, "view_class", None)
    return iscoroutinefunction(view) or bool(getattr(view_class, "view_is_async", False))


def _views(patterns: list[URLPattern | URLResolver]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        else:
            yield pattern.callback
