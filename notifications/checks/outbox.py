"""Checks of the outbox: its databases exist, and a relay publishes its events."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError
from django.db import connections, router

from notifications.checks.base import TAG, valid_settings
from notifications.conf import Settings
from notifications.conf import namespace as namespaces
from notifications.models import OutboxEvent
from notifications.publishing.outbox import backlog

LATE_SECONDS = 60.0


@register(TAG)
def outbox_databases_have_its_table(**_: Any) -> list[CheckMessage]:
    """carillon.E003: a site that does not use the outbox needs no table for it."""
    settings = valid_settings()
    if settings is None or not _is_outbox_used(settings):
        return []
    return [
        Error(
            f"CARILLON['OUTBOX_DATABASES'] names {using!r}, {why}.",
            hint="List databases of DATABASES that have this application's tables.",
            id="carillon.E003",
        )
        for using in settings.OUTBOX_DATABASES
        if (why := _fault(using))
    ]


def _is_outbox_used(settings: Settings) -> bool:
    """Whether the settings name the outbox at all: by themselves they only have defaults for it."""
    return settings.OUTBOX != "off" or "OUTBOX_DATABASES" in settings.model_fields_set


def _fault(using: str) -> str:
    if using not in connections:
        # A project without any database writes nothing into an outbox either.
        return "" if using == "default" else "which is not in DATABASES"
    with namespaces.enter(""):  # all tenants share one outbox
        is_allowed = router.allow_migrate_model(using, OutboxEvent)
    if not is_allowed:
        return "where a database router does not allow the outbox's table"
    return ""


# Not with our own tag: Django would run the check without `--database`, and it needs one.
@register(Tags.database, deploy=True)
def outbox_is_relayed(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """carillon.W031: only with `check --deploy --database …`, since it queries the database."""
    settings = valid_settings()
    outboxes = settings.OUTBOX_DATABASES if settings else ()
    return [
        CheckWarning(
            f"Events have waited in the outbox of {using!r} for more than a minute, and no relay "
            "runs.",
            hint="Set CARILLON['OUTBOX'] to 'in-process', or run 'manage.py carillon relay'.",
            id="carillon.W031",
        )
        for using in outboxes
        if using in (databases or ()) and _is_unrelayed(using)
    ]


def _is_unrelayed(using: str) -> bool:
    try:
        waiting = backlog(using)
    except DatabaseError:  # the database may not be migrated yet
        return False
    return waiting.age > LATE_SECONDS and not waiting.relayed
