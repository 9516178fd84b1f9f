"""Checks of the inbox: what is written there is published, and reaches its person."""

import secrets
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from notifications.access import Rules
from notifications.access.decision import active_rules
from notifications.checks.base import TAG, valid_settings
from notifications.inbox.events import topic_of
from notifications.inbox.languages import language_function
from notifications.inbox.table import database


def _is_used() -> bool:
    return apps.is_installed("notifications.inbox") and valid_settings() is not None


@register(TAG)
def inbox_is_where_a_relay_reads(**_: Any) -> list[CheckMessage]:
    """carillon.E008"""
    if not _is_used():
        return []
    try:
        database()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="carillon.E008")]
    return []


@register(TAG)
def inbox_has_a_relay(**_: Any) -> list[CheckMessage]:
    """carillon.W042: in development alone, where nobody would look for W031."""
    settings = valid_settings()
    if settings is None or not _is_used() or not django_settings.DEBUG or settings.OUTBOX != "off":
        return []
    return [
        CheckWarning(
            "Notifications reach nobody until a relay publishes them, and CARILLON['OUTBOX'] is "
            "'off'.",
            hint="Set CARILLON['OUTBOX'] to 'in-process', or run 'manage.py carillon relay' beside "
            "the server.",
            id="carillon.W042",
        )
    ]


@register(TAG)
def people_may_follow_their_inbox(**_: Any) -> list[CheckMessage]:
    """carillon.W043: only of `Rules`, since nothing else shows what it would allow."""
    if not _is_used():
        return []
    try:
        rules = active_rules()
    except Exception:  # noqa: BLE001 - E002 reports it
        return []
    if type(rules) is not Rules or rules.has_rule_for(topic_of(secrets.token_hex(8))):
        return []
    return [
        CheckWarning(
            "No rule of CARILLON['ACCESS'] lets a user subscribe to user.{id}: their inbox does "
            "not change while a page is open.",
            hint='Add own("user.{id}") to subscribe.',
            id="carillon.W043",
        )
    ]


@register(TAG)
def languages_can_be_asked_for(**_: Any) -> list[CheckMessage]:
    """carillon.E009"""
    if not _is_used():
        return []
    try:
        language_function()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="Name a function that takes a user and returns a language code.",
                id="carillon.E009",
            )
        ]
    return []
