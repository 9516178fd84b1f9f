"""Which rules are in force."""

from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from notifications.access.base import Access
from notifications.access.rules import Rules, linked, own, permission, public
from notifications.conf import get_settings

PUBLISH_PERMISSION = "carillon.publish_event"


@cache
def rules_in_force() -> Access:
    """`CARILLON["ACCESS"]`, or what it is without. Raises `ImproperlyConfigured`."""
    path = get_settings().ACCESS
    if path is None:
        return default_rules()
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CARILLON['ACCESS']: {error}") from error
    rules = found() if isinstance(found, type) else found
    if not isinstance(rules, Access):
        raise ImproperlyConfigured(
            f"CARILLON['ACCESS']: {path} is no notifications.access.Access: make it "
            "Rules(subscribe=[…], publish=[…]), or a class of your own that inherits from Access."
        )
    return rules


def default_rules() -> Rules:
    """What is public, what is a user's own, what was linked to; publishing by the permission."""
    prefixes = get_settings().PUBLIC_TOPICS
    return Rules(
        subscribe=[*([public(*prefixes)] if prefixes else []), own("user.{id}"), linked("*")],
        publish=[permission(PUBLISH_PERMISSION, "*")],
    )


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CARILLON":
        rules_in_force.cache_clear()
