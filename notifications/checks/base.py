"""Checks of `CARILLON` itself."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
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
        hint = (
            "Every setting, with its limits, is in docs/run.md and notifications/conf/settings.py."
        )
        return [Error(line, hint=hint, id="carillon.E001") for line in str(error).splitlines()]
    return []
