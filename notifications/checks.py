"""System checks. Their ids are permanent."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from notifications.conf import get_settings


@register()
def settings_are_valid(**_: Any) -> list[CheckMessage]:
    """carillon.E001: `CARILLON` has a key that is wrong."""
    try:
        get_settings()
    except ImproperlyConfigured as error:
        return [Error(line, id="carillon.E001") for line in str(error).splitlines()]
    return []
