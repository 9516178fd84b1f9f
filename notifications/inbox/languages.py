"""The language in which somebody is told of a notification while no page asks for one."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from notifications.conf import get_settings


def languages_of(recipient_ids: Sequence[Any], using: str) -> list[str]:
    """The language of each of these users, by at most one query."""
    language_of = language_function()
    if language_of is None:
        return [django_settings.LANGUAGE_CODE] * len(recipient_ids)
    users = get_user_model()._default_manager.db_manager(using)  # noqa: SLF001 - documented
    recipients = users.in_bulk(set(recipient_ids))
    return [
        language_of(user) or django_settings.LANGUAGE_CODE
        if (user := recipients.get(id))
        else django_settings.LANGUAGE_CODE
        for id in recipient_ids
    ]


@cache
def language_function() -> Callable[[Any], str | None] | None:
    """The function of `CARILLON["INBOX_LANGUAGE"]`. Raises `ImproperlyConfigured`."""
    path = get_settings().INBOX_LANGUAGE
    if path is None:
        return None
    try:
        function: Callable[[Any], str | None] = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CARILLON['INBOX_LANGUAGE']: {error}") from error
    if not callable(function):
        raise ImproperlyConfigured(f"CARILLON['INBOX_LANGUAGE']: {path} is no function.")
    return function


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if setting == "CARILLON":
        language_function.cache_clear()
