"""Checks of who may subscribe and publish: settings that allow more than they seem to."""

import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from notifications.access import Access, Rules
from notifications.access.decision import active_rules
from notifications.access.origins import LOOPBACK
from notifications.checks.base import TAG, valid_settings
from notifications.models import ApiKey

MODEL_BACKENDS = (
    "django.contrib.auth.backends.ModelBackend",
    "django.contrib.auth.backends.AllowAllUsersModelBackend",
    "django.contrib.auth.backends.RemoteUserBackend",
    "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend",
)
"""Django's own backends, which know no permissions of objects."""


@register(TAG)
def rules_can_be_read(**_: Any) -> list[CheckMessage]:
    """carillon.E002"""
    if valid_settings() is None:
        return []
    try:
        active_rules()
    except Exception as error:  # noqa: BLE001 - importing rules may do anything
        text = str(error) or repr(error)
        return [
            Error(
                text if isinstance(error, ImproperlyConfigured) else f"CARILLON['ACCESS']: {text}",
                hint="Without its rules Carillon refuses every request. docs/security.md has "
                "examples of rules.",
                id="carillon.E002",
            )
        ]
    return []


@register(TAG)
def objects_have_a_backend(**_: Any) -> list[CheckMessage]:
    """carillon.W009"""
    rules = _rules()
    backends = set(django_settings.AUTHENTICATION_BACKENDS)
    if not (isinstance(rules, Rules) and rules.checks_objects) or backends - {*MODEL_BACKENDS}:
        return []
    return [
        CheckWarning(
            "A rule is an object_permission, and no backend in AUTHENTICATION_BACKENDS supports "
            "permissions of objects: only superusers are allowed.",
            hint="Add a backend that does, such as django-guardian's or your own.",
            id="carillon.W009",
        )
    ]


@register(TAG, deploy=True)
def not_everything_is_public(**_: Any) -> list[CheckMessage]:
    """carillon.W010"""
    rules = _rules()
    if rules is None or not rules.is_public(f"{secrets.token_hex(8)}.{secrets.token_hex(8)}"):
        return []
    return [
        CheckWarning(
            "Topics of any name are public: everybody may subscribe to everything, even to what is "
            "published to one user.",
            hint="List the public topics in CARILLON['PUBLIC_TOPICS'], or by public(…) in the "
            "rules of CARILLON['ACCESS'].",
            id="carillon.W010",
        )
    ]


@register(TAG, deploy=True)
def origins_are_secure(**_: Any) -> list[CheckMessage]:
    """carillon.W011. A `*` is an error already (E001), since it is not an origin."""
    settings = valid_settings()
    insecure = [
        origin
        for origin in (settings.CORS_ALLOWED_ORIGINS if settings else ())
        if origin.startswith("http:") and urlsplit(origin).hostname not in LOOPBACK
    ]
    if not insecure:
        return []
    return [
        CheckWarning(
            f"CARILLON['CORS_ALLOWED_ORIGINS'] has {', '.join(insecure)}: an attacker on the "
            "network can change a page without TLS, and read its users' streams with it.",
            hint="Serve these pages by https, and list their https origins.",
            id="carillon.W011",
        )
    ]


@register(TAG, deploy=True)
def keys_of_the_settings_are_for_development(**_: Any) -> list[CheckMessage]:
    """carillon.W012"""
    settings = valid_settings()
    if settings is None or not settings.PUBLISH_KEYS:
        return []
    return [
        CheckWarning(
            "CARILLON['PUBLISH_KEYS'] may publish to every topic, never expire, and cannot be "
            "revoked without a restart.",
            hint="Create keys with a scope and an expiry, by 'manage.py carillon keys create', and "
            "leave PUBLISH_KEYS out.",
            id="carillon.W012",
        )
    ]


@register(TAG, deploy=True)
def no_tokens_in_urls(**_: Any) -> list[CheckMessage]:
    """carillon.W013"""
    settings = valid_settings()
    if settings is None or not settings.QUERY_TOKENS:
        return []
    return [
        CheckWarning(
            "CARILLON['QUERY_TOKENS'] is on: whatever logs URLs keeps the keys and tokens in them.",
            hint="Use signed links for browsers, and the Authorization header everywhere else.",
            id="carillon.W013",
        )
    ]


@register(TAG, deploy=True)
def sessions_stay_on_their_site(**_: Any) -> list[CheckMessage]:
    """carillon.W014. Django itself checks that cookies are secure."""
    if str(django_settings.SESSION_COOKIE_SAMESITE).lower() not in {"none", "false"}:
        return []
    return [
        CheckWarning(
            "SESSION_COOKIE_SAMESITE lets browsers send the session cookie with requests from "
            "pages of every other site.",
            hint="Leave it at 'Lax', and give pages of other sites signed links.",
            id="carillon.W014",
        )
    ]


# Not with our own tag: Django would run the check without `--database`, and it needs one.
@register(Tags.database, deploy=True)
def keys_expire(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """carillon.W015: only with `check --deploy --database default`, since it queries a database."""
    unlimited = ApiKey.objects.filter(expires_at=None, revoked_at=None)
    if unlimited.db not in (databases or ()):
        return []
    try:
        prefixes = [f"crl_{prefix}_…" for prefix in unlimited.values_list("prefix", flat=True)[:10]]
    except DatabaseError:  # before the table was created
        return []
    if not prefixes:
        return []
    return [
        CheckWarning(
            f"API keys that never expire: {', '.join(prefixes)}.",
            hint="Create others that expire, by 'manage.py carillon keys create … --expires 90d', "
            "and revoke these.",
            id="carillon.W015",
        )
    ]


def _rules() -> Access | None:
    """The rules; None if they cannot be read, which only E001 or E002 reports."""
    try:
        return active_rules()
    except Exception:  # noqa: BLE001 - as above
        return None
