"""Checks of `CARILLON` itself."""

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from notifications.conf import Settings, get_settings

TAG = "carillon"


def valid_settings() -> Settings | None:
    """None where they are not valid: one check says so, and the others have nothing to go by."""
    try:
        return get_settings()
    except ImproperlyConfigured:
        return None


@register(TAG)
def settings_are_valid(**_: Any) -> list[CheckMessage]:
    """carillon.E001"""
    try:
        get_settings()
    except ImproperlyConfigured as error:
        hint = "Every setting, with its limits, is in docs/run.md and notifications/conf.py."
        return [Error(line, hint=hint, id="carillon.E001") for line in str(error).splitlines()]
    return []


@register(TAG)
def memory_is_for_one_process(**_: Any) -> list[CheckMessage]:
    """carillon.W004"""
    settings = valid_settings()
    processes = getattr(django_settings, "WEB_CONCURRENCY", 1)
    if settings is None or settings.LOG != "memory" or not _several(processes):
        return []
    return [
        CheckWarning(
            f"{processes} processes are to serve (WEB_CONCURRENCY), and CARILLON['LOG'] is "
            "'memory': each has a log of its own, and hears only what it published itself.",
            hint="Set CARILLON['REDIS_URL'] to a Redis server's, or serve with one process.",
            id="carillon.W004",
        )
    ]


def _several(processes: object) -> bool:
    return str(processes).isdecimal() and int(str(processes)) > 1
