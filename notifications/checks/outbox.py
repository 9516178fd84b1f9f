"""Checks of the outbox."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError
from django.db import connections, router

from notifications.checks.base import TAG, valid_settings
from notifications.models import OutboxEvent
from notifications.publishing.outbox import backlog

LATE = 60.0


@register(TAG)
def outbox_is_in_its_databases(**_: Any) -> list[CheckMessage]:
    """carillon.E003"""
    settings = valid_settings()
    return [
        Error(
            f"CARILLON['OUTBOX_DATABASES'] names {using!r}, {why}.",
            hint="Name databases of DATABASES that have the tables of this application.",
            id="carillon.E003",
        )
        for using in (settings.OUTBOX_DATABASES if settings else ())
        if (why := _fault(using))
    ]


def _fault(using: str) -> str:
    if using not in connections:
        # Without a database at all, nothing is written into an outbox either.
        return "" if using == "default" else "which is none of the DATABASES"
    if not router.allow_migrate_model(using, OutboxEvent):
        return "from which a database router keeps the table of the outbox away"
    return ""


# Not under our own tag: by that, Django would have it ask a database that nobody named.
@register(Tags.database, deploy=True)
def outbox_is_relayed(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """carillon.W031: only with `check --deploy --database …`, since it asks the database."""
    settings = valid_settings()
    asked = settings.OUTBOX_DATABASES if settings else ()
    return [
        CheckWarning(
            f"Events have waited in the outbox of {using!r} for more than a minute, and nothing "
            "relays it.",
            hint="Set CARILLON['OUTBOX'] to 'in-process', or run 'manage.py carillon relay'.",
            id="carillon.W031",
        )
        for using in asked
        if using in (databases or ()) and _is_left_alone(using)
    ]


def _is_left_alone(using: str) -> bool:
    try:
        found = backlog(using)
    except DatabaseError:  # it may have to be migrated first
        return False
    return found.age > LATE and not found.relayed
