"""Checks of sites with several tenants, whose users have the same primary keys."""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from notifications.checks.base import TAG, valid_settings
from notifications.conf import namespace as namespaces

READY_MADE = {"django_tenants": "notifications.compat.tenants.schema"}
TENANT_PACKAGES = (
    *("django_tenants", "tenant_schemas", "django_pgschemas", "tenant_users"),
    *("django_multitenant", "django_scopes", "db_multitenant"),
)
"""The applications of packages that serve several tenants by one site."""


@register(TAG)
def namespaces_can_be_read(**_: Any) -> list[CheckMessage]:
    """carillon.E004"""
    if valid_settings() is None:
        return []
    try:
        namespaces.is_used()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="It names an object with current() and enter(namespace): see 'Tenants' in "
                "docs/neighbours.md.",
                id="carillon.E004",
            )
        ]
    return []


@register(TAG)
def tenants_are_apart(**_: Any) -> list[CheckMessage]:
    """carillon.E005"""
    settings = valid_settings()
    if settings is None or settings.NAMESPACE is not None:
        return []
    return [
        Error(
            f"{name} serves several tenants, and CARILLON['NAMESPACE'] is not set: user 1 of one "
            "tenant gets the events of user 1 of another, a log-out or a kick ends the streams of "
            "both, and permissions are checked again in the wrong schema.",
            hint=f"CARILLON = {{'NAMESPACE': '{READY_MADE.get(name, 'shop.tenancy.namespaces')}', "
            "…}: see 'Tenants' in docs/neighbours.md. Where all tenants share their users and "
            "topics, silence this check.",
            id="carillon.E005",
        )
        for name in TENANT_PACKAGES
        if apps.is_installed(name)
    ]
