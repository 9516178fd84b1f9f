"""Checks of other packages that conflict with Carillon or have to be configured for it."""

from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning

from notifications.checks.base import TAG

NAMESAKES = ("django-notifications-hq", "django-notifications-community")
RESUME_HEADER = "last-event-id"


@register(TAG)
def import_name_is_ours_alone(**_: Any) -> list[CheckMessage]:
    """carillon.W003"""
    return [
        CheckWarning(
            f"{name} is installed too, and has the same import name, `notifications`: one "
            "folder holds the files of both packages.",
            hint=f"Keep one. For ours: pip uninstall {name}, "
            "then pip install --force-reinstall --no-deps django-carillon. The inbox takes over "
            "its notify.send() and its rows (docs/inbox.md).",
            id="carillon.W003",
        )
        for name in NAMESAKES
        if _is_installed(name)
    ]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@register(TAG)
def preflights_allow_resuming(**_: Any) -> list[CheckMessage]:
    """carillon.W007: django-cors-headers answers preflights itself."""
    if not apps.is_installed("corsheaders"):
        return []
    allowed = getattr(django_settings, "CORS_ALLOW_HEADERS", ())
    if any(str(header).lower() in (RESUME_HEADER, "*") for header in allowed):
        return []
    return [
        CheckWarning(
            f"CORS_ALLOW_HEADERS lacks {RESUME_HEADER}: a client on another origin that uses "
            "fetch cannot resume its stream.",
            hint="from corsheaders.defaults import default_headers; "
            f'CORS_ALLOW_HEADERS = [*default_headers, "{RESUME_HEADER}"]',
            id="carillon.W007",
        )
    ]


@register(TAG)
def proxies_are_not_published_to(**_: Any) -> list[CheckMessage]:
    """carillon.W041: a GRIP proxy takes a gap in the ids for a loss, and our ids have gaps."""
    storage = getattr(django_settings, "EVENTSTREAM_STORAGE_CLASS", "")
    grip = [name for name in ("GRIP_URL", "GRIP_PROXIES") if getattr(django_settings, name, None)]
    if not grip or not storage.startswith("notifications.compat.eventstream"):
        return []
    return [
        CheckWarning(
            f"{grip[0]} names a proxy, and with this EVENTSTREAM_STORAGE_CLASS nothing is "
            "published through it.",
            hint=f"Remove {grip[0]}, and let clients connect to this site: several processes "
            "need no proxy (docs/neighbours.md).",
            id="carillon.W041",
        )
    ]
