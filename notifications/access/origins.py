"""Origins: which pages may read a stream (Fetch standard, CORS protocol; RFC 6454)."""

from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.http import HttpRequest

from notifications.conf import get_settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_allowed(origin: str) -> bool:
    """Whether pages of another origin may read what a user here may hear."""
    if origin in get_settings().CORS_ALLOWED_ORIGINS:
        return True
    return django_settings.DEBUG and _parts(origin)[0] in LOOPBACK


def is_foreign(request: HttpRequest) -> bool:
    """Whether a page of another origin asks, which is not allowed to.

    A cookie says who the user is and nothing of who asks in their name. The scheme is not compared:
    behind a proxy that ends TLS it is often not known here.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None or is_allowed(origin):
        return False
    return _parts(origin)[1] != request.get_host().lower()


def _parts(origin: str) -> tuple[str | None, str]:
    try:
        parts = urlsplit(origin)
        return parts.hostname, parts.netloc.lower()
    except ValueError:
        return None, ""
