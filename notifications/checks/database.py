"""Checks of database settings whose effect under ASGI differs from that under WSGI."""

import sys
from collections.abc import Iterator
from inspect import iscoroutinefunction, isfunction
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.urls import URLPattern, URLResolver, get_resolver

from notifications.checks.base import TAG
from notifications.checks.serving import serves_streams
from notifications.publishing.publisher import publish, publish_many
from notifications.streaming.django_internals import non_atomic_databases

MAX_NAMES = 3
PUBLISHING = (publish, publish_many)
OWN_APP = "notifications"


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


@register(TAG)
def events_follow_the_commit(**_: Any) -> list[CheckMessage]:
    """carillon.W032: a page that gets such an event reads what was there before."""
    aliases = _databases_with("ATOMIC_REQUESTS")
    names = sorted(set(_modules_that_publish())) if aliases else []
    return [
        CheckWarning(
            f"DATABASES[{alias!r}] has ATOMIC_REQUESTS, so a publish() in a view publishes before "
            f"the transaction commits: {', '.join(names[:MAX_NAMES])}"
            f"{' and others import' if names[MAX_NAMES:] else ' imports'} it.",
            hint="Publish by publish_on_commit or publish_outbox, or silence this check if no view "
            "of these modules publishes in its transaction.",
            id="carillon.W032",
        )
        for alias in aliases
        if names
    ]


def _modules_that_publish() -> Iterator[str]:
    """The modules of the site's own applications that have imported `publish`, or its like."""
    installed = {config.name for config in apps.get_app_configs()} - {OWN_APP}
    for name, module in list(sys.modules.items()):
        is_of_app = any(name == app or name.startswith(f"{app}.") for app in installed)
        if is_of_app and any(value in PUBLISHING for value in _functions(module)):
            yield name


def _functions(module: object) -> Iterator[object]:
    return (value for value in list(vars(module).values()) if isfunction(value))


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
