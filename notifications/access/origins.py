"""Origins: which pages may read a stream (Fetch standard, CORS protocol; RFC 6454)."""

from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.http import HttpRequest

from notifications.conf import get_settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_allowed_origin(origin: str) -> bool:
    """Whether pages of another origin may read the streams of this site's users."""
    if origin in get_settings().CORS_ALLOWED_ORIGINS:
        return True
    return django_settings.DEBUG and _host_and_netloc(origin)[0] in LOOPBACK


def has_disallowed_origin(request: HttpRequest) -> bool:
    """Whether the request comes from a page of another origin, which is not allowed.

    A session cookie names the user and not the page that sends the request. Schemes are not
    compared: behind a proxy that ends TLS, this process often does not know the scheme.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None or is_allowed_origin(origin):
        return False
    return _host_and_netloc(origin)[1] != request.get_host().lower()


def _host_and_netloc(origin: str) -> tuple[str | None, str]:
    try:
        parts = urlsplit(origin)
        return parts.hostname, parts.netloc.lower()
    except ValueError:
        return None, ""
