"""Checks of other packages whose ways cross ours."""

from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning

from notifications.checks.base import TAG

NAMESAKE = "django-notifications-hq"
RESUMING = "last-event-id"


@register(TAG)
def import_name_is_ours_alone(**_: Any) -> list[CheckMessage]:
    """carillon.W003"""
    try:
        distribution(NAMESAKE)
    except PackageNotFoundError:
        return []
    return [
        CheckWarning(
            f"{NAMESAKE} is installed too, and is imported as `notifications` as well: the files "
            "of the two are mixed in one folder.",
            hint=f"Keep one. For ours: pip uninstall {NAMESAKE}, "
            "then pip install --force-reinstall --no-deps django-carillon.",
            id="carillon.W003",
        )
    ]


@register(TAG)
def preflights_allow_resuming(**_: Any) -> list[CheckMessage]:
    """carillon.W007: django-cors-headers answers preflights itself."""
    if not apps.is_installed("corsheaders"):
        return []
    allowed = getattr(django_settings, "CORS_ALLOW_HEADERS", ())
    if any(str(header).lower() in (RESUMING, "*") for header in allowed):
        return []
    return [
        CheckWarning(
            f"CORS_ALLOW_HEADERS lacks {RESUMING}: a client elsewhere that fetches the stream "
            "itself cannot come back to where it was.",
            hint="from corsheaders.defaults import default_headers; "
            f'CORS_ALLOW_HEADERS = [*default_headers, "{RESUMING}"]',
            id="carillon.W007",
        )
    ]


@register(TAG)
def proxies_are_not_published_to(**_: Any) -> list[CheckMessage]:
    """carillon.W041: a GRIP proxy takes a hole in the ids for a loss, and ours are not gapless."""
    storage = getattr(django_settings, "EVENTSTREAM_STORAGE_CLASS", "")
    grip = [name for name in ("GRIP_URL", "GRIP_PROXIES") if getattr(django_settings, name, None)]
    if not grip or not storage.startswith("notifications.compat.eventstream"):
        return []
    return [
        CheckWarning(
            f"{grip[0]} names a proxy, and nothing is published through it with this "
            "EVENTSTREAM_STORAGE_CLASS.",
            hint=f"Remove {grip[0]}, and have clients connect to this site: no proxy is needed for "
            "several processes (docs/neighbours.md).",
            id="carillon.W041",
        )
    ]
