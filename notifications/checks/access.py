"""Checks of who may hear and who may speak, where a setting lets in more than anybody meant."""

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
from notifications.access.decision import rules_in_force
from notifications.access.origins import LOOPBACK
from notifications.checks.base import TAG, valid_settings
from notifications.models import ApiKey

MODEL_BACKENDS = (
    "django.contrib.auth.backends.ModelBackend",
    "django.contrib.auth.backends.AllowAllUsersModelBackend",
    "django.contrib.auth.backends.RemoteUserBackend",
    "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend",
)
"""Those of Django's own: they know no permissions of objects."""


@register(TAG)
def rules_can_be_read(**_: Any) -> list[CheckMessage]:
    """carillon.E002"""
    if valid_settings() is None:
        return []
    try:
        rules_in_force()
    except Exception as error:  # noqa: BLE001 - importing rules may do anything
        text = str(error) or repr(error)
        return [
            Error(
                text if isinstance(error, ImproperlyConfigured) else f"CARILLON['ACCESS']: {text}",
                hint="Without its rules Carillon answers nobody. docs/security.md shows how they "
                "look.",
                id="carillon.E002",
            )
        ]
    return []


@register(TAG)
def objects_have_a_backend(**_: Any) -> list[CheckMessage]:
    """carillon.W009"""
    rules = _rules()
    backends = set(django_settings.AUTHENTICATION_BACKENDS)
    if not (isinstance(rules, Rules) and rules.asks_about_objects) or backends - {*MODEL_BACKENDS}:
        return []
    return [
        CheckWarning(
            "A rule is an object_permission, and no backend in AUTHENTICATION_BACKENDS knows "
            "permissions of objects: only superusers are let in.",
            hint="Add one that does, such as django-guardian's or your own.",
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
            "A topic of any name is public: everybody may hear everything, what is published to "
            "one user included.",
            hint="Name what is for everybody in CARILLON['PUBLIC_TOPICS'], or by public(…) in the "
            "rules of CARILLON['ACCESS'].",
            id="carillon.W010",
        )
    ]


@register(TAG, deploy=True)
def origins_are_secure(**_: Any) -> list[CheckMessage]:
    """carillon.W011. A `*` among them is an error already: it is no origin."""
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
            f"CARILLON['CORS_ALLOWED_ORIGINS'] has {', '.join(insecure)}: whoever is on the way "
            "can change a page that comes without TLS, and hear with it as its users.",
            hint="Serve these pages by https, and list that.",
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
            "CARILLON['PUBLISH_KEYS'] publish to every topic, never end, and cannot be revoked "
            "without a restart.",
            hint="Make keys with a scope and an end, by 'manage.py carillon keys create', and "
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
            "CARILLON['QUERY_TOKENS'] is on: keys and tokens in URLs are kept by whatever "
            "logs them.",
            hint="Use signed links for browsers, and the header Authorization for all else.",
            id="carillon.W013",
        )
    ]


@register(TAG, deploy=True)
def sessions_stay_on_their_site(**_: Any) -> list[CheckMessage]:
    """carillon.W014. That cookies are secure is checked by Django itself."""
    if str(django_settings.SESSION_COOKIE_SAMESITE).lower() not in {"none", "false"}:
        return []
    return [
        CheckWarning(
            "SESSION_COOKIE_SAMESITE lets browsers send the session along from pages of every "
            "other site.",
            hint="Leave it at 'Lax', and give pages elsewhere signed links.",
            id="carillon.W014",
        )
    ]


# Not under our own tag: by that, Django would have it ask a database that nobody named.
@register(Tags.database, deploy=True)
def keys_end(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """carillon.W015: only with `check --deploy --database default`, since it asks the database."""
    lasting = ApiKey.objects.filter(expires_at=None, revoked_at=None)
    if lasting.db not in (databases or ()):
        return []
    try:
        prefixes = [f"crl_{each}_…" for each in lasting.values_list("prefix", flat=True)[:10]]
    except DatabaseError:  # before its table was made
        return []
    if not prefixes:
        return []
    return [
        CheckWarning(
            f"API keys that never expire: {', '.join(prefixes)}.",
            hint="Make others with an end, by 'manage.py carillon keys create … --expires 90d', "
            "and revoke these.",
            id="carillon.W015",
        )
    ]


def _rules() -> Access | None:
    """None where there are none that could be checked; E001 or E002 says so."""
    try:
        return rules_in_force()
    except Exception:  # noqa: BLE001 - as above
        return None
