"""Checks of the outbox: its databases exist, and a relay publishes its events."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError
from django.db import connections, router

from notifications.checks.base import TAG, valid_settings
from notifications.conf import namespace as namespaces
from notifications.models import OutboxEvent, OutboxLease
from notifications.publishing.outbox import backlog

LATE_SECONDS = 60.0


@register(TAG)
def outbox_databases_have_its_table(**_: Any) -> list[CheckMessage]:
    """carillon.E003: a site that does not use the outbox needs no table for it."""
    settings = valid_settings()
    if settings is None or not settings.uses_outbox:
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


def _fault(using: str) -> str:
    if using not in connections:
        # A project without any database writes nothing into an outbox either.
        return "" if using == "default" else "which is not in DATABASES"
    with namespaces.enter(""):  # all tenants share one outbox
        is_allowed = router.allow_migrate_model(using, OutboxEvent)
    if not is_allowed:
        return "where a database router does not allow the outbox's table"
    return ""


@register(Tags.database)
def outbox_is_transactional(*, databases: Sequence[str] | None = None, **_: Any) -> list[Error]:
    """carillon.E007: only with `migrate` and `check --database …`: it queries the database."""
    settings = valid_settings()
    return [
        Error(f"DATABASES[{using!r}]: {message}.", hint=hint, id="carillon.E007")
        for using in (settings.OUTBOX_DATABASES if settings else ())
        if using in (databases or ()) and connections[using].vendor == "mysql"
        for message, hint in _faults_of_mysql(using)
    ]


def _faults_of_mysql(using: str) -> Iterator[tuple[str, str]]:
    tables = tuple(model._meta.db_table for model in (OutboxEvent, OutboxLease))  # noqa: SLF001 - documented
    try:
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT table_name, engine, table_collation FROM information_schema.tables "
                "WHERE table_schema = DATABASE() AND table_name IN %s",
                [tables],
            )
            found = cursor.fetchall()
            cursor.execute("SELECT @@sql_mode")
            [mode] = cursor.fetchone()
    except DatabaseError:  # Django's own checks report it
        return
    for table, engine, collation in found:
        if engine != "InnoDB":
            yield (
                f"the table {table} has the engine {engine}, so events stay that are rolled back",
                f"Run: ALTER TABLE {table} ENGINE=InnoDB",
            )
        if not collation.startswith("utf8mb4"):
            yield (
                f"the table {table} has the collation {collation}, which lacks characters that "
                "events may have",
                f"Run: ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4",
            )
    if found and not {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}.intersection(mode.split(",")):
        yield (
            "its sql_mode is not strict, so it may cut the names of topics short",
            """Set OPTIONS["init_command"] to "SET sql_mode='STRICT_TRANS_TABLES'".""",
        )


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
