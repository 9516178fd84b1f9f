"""Checks of where the Redis is that keeps the log: its other users, and its network."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from redis.connection import parse_url

from notifications.access.origins import LOOPBACK
from notifications.checks.base import TAG, valid_settings
from notifications.conf import redis_url

# Names that the Internet's DNS does not have: of RFC 6761 and 6762, of ICANN, and of Kubernetes.
PRIVATE_NAMES = (".internal", ".local", ".localhost", ".svc")

type Database = tuple[str, int | str, int]
"""Host and port, or `unix` and path, and the number of the database."""


@register(TAG)
def database_is_not_a_cache(**_: Any) -> list[CheckMessage]:
    """carillon.W005"""
    settings = valid_settings()
    if settings is None or settings.LOG != "redis" or settings.REDIS_URL is None:
        return []
    log = _database_of(settings.REDIS_URL)
    return [
        CheckWarning(
            f"CACHES[{alias!r}] is the Redis database that keeps the log, and its clear() is a "
            "FLUSHDB: it empties the log, and resets every stream.",
            hint="Give CARILLON['REDIS_URL'] or the cache another database, such as "
            "redis://localhost:6379/1.",
            id="carillon.W005",
        )
        for alias, cache in getattr(django_settings, "CACHES", {}).items()
        if log is not None and log in _databases_of(cache)
    ]


@register(TAG, deploy=True)
def redis_is_reached_privately(**_: Any) -> list[CheckMessage]:
    """carillon.W016. A name without a dot is of a private network, such as Docker Compose has."""
    settings = valid_settings()
    if settings is None or settings.LOG != "redis" or settings.REDIS_URL is None:
        return []
    location = redis_url.parse(settings.REDIS_URL)
    parts = urlsplit(location.server)
    hosts = [host for host, _ in location.addresses] or [parts.hostname or "localhost"]
    if parts.scheme != "redis" or all(map(_is_private, hosts)):
        return []
    return [
        CheckWarning(
            "CARILLON['REDIS_URL'] is redis:// to another host: its password and every event cross "
            "the network unencrypted.",
            hint="Use rediss://, or a Redis on a private network; if a tunnel or the network "
            "itself encrypts, silence this check.",
            id="carillon.W016",
        )
    ]


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_NAMES)


def _databases_of(cache: dict[str, Any]) -> Iterator[Database]:
    """The databases that a cache of Django's or of django-redis uses."""
    if not str(cache.get("BACKEND", "")).endswith("RedisCache"):
        return
    location = cache.get("LOCATION") or ()
    urls = re.split(r"[,;]", location) if isinstance(location, str) else location
    database = cache.get("OPTIONS", {}).get("db")
    for url in urls:
        if used := _database_of(str(url).strip(), database):
            yield used


def _database_of(url: str, database: object = None) -> Database | None:
    try:
        parts = parse_url(url)
    except ValueError:
        return None
    number = int(str(parts.get("db", database or 0)))
    if "path" in parts:
        return "unix", parts["path"], number
    host = parts.get("host", "localhost").lower()
    return "localhost" if host in LOOPBACK else host, parts.get("port", 6379), number
