"""Checks of the inbox: what is written there is published, and reaches its person."""

import secrets
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.utils import timezone

from notifications.access import Rules
from notifications.access.decision import active_rules
from notifications.checks.base import TAG, valid_settings
from notifications.conf import namespace as namespaces
from notifications.inbox.channels import Channel
from notifications.inbox.delivery.table import waiting
from notifications.inbox.events import topic_of
from notifications.inbox.kinds import delays, is_asked_for, kinds
from notifications.inbox.languages import language_function
from notifications.inbox.push.offer import browser_key
from notifications.inbox.table import database

LATE_SECONDS = 600.0


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


@register(TAG)
def messages_can_lead_to_the_site(**_: Any) -> list[CheckMessage]:
    """carillon.E010 and W044: only of a site with a kind that asks for either."""
    settings = valid_settings()
    if settings is None or not _is_used() or not any(map(delays, kinds())):
        return []
    if settings.SITE_URL is None:
        return [
            Error(
                "A kind of notification asks for e-mail or push messages, whose links need the "
                "address of the site.",
                hint="Set CARILLON['SITE_URL'], such as 'https://example.com'.",
                id="carillon.E010",
            )
        ]
    if django_settings.DEBUG or settings.SITE_URL.startswith("https://"):
        return []
    return [
        CheckWarning(
            "CARILLON['SITE_URL'] is without TLS: mailboxes show no button to unsubscribe (RFC "
            "8058), browsers take no push messages, and links are sent as they are.",
            hint="Set CARILLON['SITE_URL'] to an address that begins with https://.",
            id="carillon.W044",
        )
    ]


@register(TAG)
def push_messages_have_a_key(**_: Any) -> list[CheckMessage]:
    """carillon.E011 and E012"""
    settings = valid_settings()
    if settings is None or not _is_used():
        return []
    if settings.PUSH_KEY is None:
        if not is_asked_for(Channel.PUSH):
            return []
        return [
            Error(
                "A kind of notification asks for push messages, and CARILLON['PUSH_KEY'] is not "
                "set.",
                hint="Make a key by 'manage.py carillon push-key'.",
                id="carillon.E011",
            )
        ]
    if not browser_key():
        return [
            Error(
                "CARILLON['PUSH_KEY'] is set, and the packages that push messages need are not "
                "installed.",
                hint="pip install 'django-carillon[push]'",
                id="carillon.E012",
            )
        ]
    return []


# Not with our own tag: Django would run the check without `--database`, and it needs one.
@register(Tags.database, deploy=True)
def due_emails_are_sent(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """carillon.W045: only with `check --deploy --database …`, since it queries the database."""
    if not _is_used() or namespaces.is_used():
        return []
    try:
        using = database()
        if using not in (databases or ()) or waiting(using, timezone.now()).late < LATE_SECONDS:
            return []
    except (ImproperlyConfigured, DatabaseError):  # which another check reports
        return []
    return [
        CheckWarning(
            "E-mails or push messages of the inbox have been due for more than ten minutes, and "
            "nothing sends them.",
            hint="Run 'manage.py carillon relay', or 'manage.py carillon deliver' by a timer.",
            id="carillon.W045",
        )
    ]
