"""The check of the setting `CARILLON`, and what all checks share."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from notifications.conf import Settings, get_settings

TAG = "carillon"


def valid_settings() -> Settings | None:
    """The settings; None if they are invalid, which only `carillon.E001` reports."""
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
            "All settings and their limits are in docs/run.md and notifications/conf/settings.py."
        )
        return [Error(line, hint=hint, id="carillon.E001") for line in str(error).splitlines()]
    return []
