"""MariaDB: what differs from other databases, and the settings of a server that are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core import checks
from django.db import connections, transaction
from django.utils import timezone

from notifications import publish_outbox
from notifications.models import OutboxEvent, OutboxLease
from notifications.publishing.outbox.lease import Lease
from notifications.publishing.outbox.table import oldest
from tests.harness.databases import Database
from tests.unit.publishing.outbox.reading import Published

pytestmark = pytest.mark.parametrize("database", ["maria"], indirect=True)


def found(database: Database) -> list[str]:
    errors = checks.run_checks(tags=[checks.Tags.database], databases=[database.alias])
    return [f"{error.msg} {error.hint}" for error in errors if error.id == "carillon.E007"]


def execute(database: Database, *statements: str) -> None:
    with connections[database.alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def changed(database: Database, change: str, back: str) -> Iterator[None]:
    execute(database, change)
    try:
        yield
    finally:
        execute(database, back)


@pytest.mark.usefixtures("published")
def test_a_server_as_it_is_installed_is_accepted(database: Database) -> None:
    assert found(database) == []


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("table", ["carillon_outboxevent", "carillon_outboxlease"])
@pytest.mark.parametrize(
    ("change", "back", "message"),
    [
        ("ENGINE=MyISAM", "ENGINE=InnoDB", "events stay that are rolled back. Run: ALTER TABLE"),
        ("ENGINE=Aria", "ENGINE=InnoDB", "has the engine Aria"),
        (
            "CONVERT TO CHARACTER SET utf8mb3",
            "CONVERT TO CHARACTER SET utf8mb4",
            "lacks characters",
        ),
    ],
)
def test_a_table_that_cannot_keep_the_promise_is_refused(
    database: Database, table: str, change: str, back: str, message: str
) -> None:
    with changed(database, f"ALTER TABLE {table} {change}", f"ALTER TABLE {table} {back}"):
        [line] = found(database)
        assert message in line
        assert table in line
    assert found(database) == []


@pytest.mark.usefixtures("published")
def test_a_server_that_cuts_texts_short_is_refused(database: Database) -> None:
    with changed(database, "SET sql_mode=''", "SET sql_mode='STRICT_TRANS_TABLES'"):
        [line] = found(database)
        assert "may cut the names of topics short" in line


def test_the_lease_is_in_utc_in_any_time_zone_of_the_server(database: Database) -> None:
    lease = Lease(database.alias, seconds=10)
    assert lease.take()
    ends = OutboxLease.objects.using(database.alias).get().expires_at
    assert timedelta(0) < ends - timezone.now() < timedelta(seconds=11)


def test_any_character_of_an_event_is_kept(database: Database, published: Published) -> None:
    publish_outbox("t.\U0001f600", "\U0001f600", id="\U0001f600", using=database.alias)
    [row] = oldest(database.alias, 10)
    assert (row.topics, row.name, bytes(row.data).decode()) == (
        *("t.\U0001f600", "\U0001f600"),
        "\U0001f600",
    )


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_the_relay_reads_what_was_committed_since_at_any_isolation_level(
    database: Database, level: str
) -> None:
    execute(database, f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    try:
        with transaction.atomic(database.alias):
            publish_outbox("t", "one", using=database.alias)
        assert len(oldest(database.alias, 10)) == 1
        other = connections.create_connection(database.alias)
        with other.cursor() as cursor:
            cursor.execute(f"DELETE FROM {OutboxEvent._meta.db_table}")
        other.close()
        assert oldest(database.alias, 10) == []
    finally:
        execute(database, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
