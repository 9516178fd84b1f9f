"""The state of the outbox, as the command, `/health/outbox` and the checks report it."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models import F
from django.test import Client
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox
from notifications.models import OutboxEvent
from notifications.publishing import outbox
from notifications.publishing.outbox import table
from notifications.publishing.outbox.lease import Lease
from tests.harness.databases import Database

pytestmark = pytest.mark.usefixtures("published")


def carillon(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("carillon", "relay", *arguments, stdout=output)
    return output.getvalue().splitlines()


def let_pass(database: Database, seconds: float) -> None:
    """Make the events as old as they would be after so many seconds."""
    written = OutboxEvent.objects.using(database.alias)
    written.update(created_at=F("created_at") - timedelta(seconds=seconds))


def refuse(database: Database) -> None:
    publish_outbox("t", "refused", using=database.alias)
    row = table.oldest(database.alias, 100)[-1]
    table.refuse_row(row, "why not", using=database.alias)


def test_a_backlog_has_a_number_and_the_age_of_its_oldest_event(database: Database) -> None:
    assert outbox.backlog(database.alias) == outbox.Backlog(0, 0.0, 0, relayed=False)
    publish_outbox("t", "first", using=database.alias)
    let_pass(database, 100)
    refuse(database)
    let_pass(database, 100)
    publish_outbox("t", "last", using=database.alias)
    Lease(database.alias, seconds=60).take()
    backlog = outbox.backlog(database.alias)
    assert (backlog.waiting, backlog.refused, backlog.relayed) == (2, 1, True)
    assert 200 <= backlog.age < 230
    assert outbox.backlog(database.alias, max_counted=1).waiting == 1


def test_the_status_is_printed(database: Database) -> None:
    head, line = carillon("--status")
    assert head.split() == ["DATABASE", "WAITING", "OLDEST", "REFUSED", "RELAY"]
    assert line.split() == [database.alias, "0", "-", "0", "none"]
    publish_outbox("t", "x", using=database.alias)
    refuse(database)
    let_pass(database, 100)
    Lease(database.alias, seconds=60).take()
    [_, line] = carillon("--status", "--database", database.alias)
    alias, waiting, age, _, refused, relay = line.split(maxsplit=5)
    assert (alias, waiting, refused, relay) == (database.alias, "1", "1", "at work")
    assert 100 <= float(age) < 130


def test_refused_events_are_tried_again(database: Database) -> None:
    refuse(database)
    refuse(database)
    assert carillon("--retry-refused") == ["Tried again: 2"]
    assert (database.waiting, database.refused) == (2, 0)


def test_the_command_refuses_an_unknown_database_and_a_log_in_memory(
    database: Database, settings: DjangoSettings
) -> None:
    with pytest.raises(CommandError, match="without 'elsewhere'"):
        carillon("--database", "elsewhere")
    settings.CARILLON = {**settings.CARILLON, "LOG": "memory"}
    with pytest.raises(CommandError, match=r"in-process"):
        carillon()


def test_without_its_table_the_command_advises_to_migrate(database: Database) -> None:
    connection = connections[database.alias]
    table_name = OutboxEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table_name} RENAME TO elsewhere")
        try:
            for arguments in ([], ["--status"]):
                with pytest.raises(CommandError, match="is it migrated"):
                    carillon(*arguments)
            assert Client().get("/health/outbox").status_code == 503
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table_name}")


def test_health_reports_each_outbox_and_fails_if_an_event_waits_for_long(
    database: Database,
) -> None:
    publish_outbox("t", "x", using=database.alias)
    response = Client().get("/health/outbox")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    health = response.json()
    age = health["databases"][database.alias].pop("age")
    assert 0 <= age < 30
    counted = {"waiting": 1, "refused": 0, "relayed": False}
    assert health == {"status": "outbox", "databases": {database.alias: counted}}
    let_pass(database, 100)
    response = Client().get("/health/outbox")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    health = response.json()
    assert health["type"] == "urn:carillon:problem:outbox-late"
    assert health["databases"][database.alias]["age"] > 100


# The checks


def outbox_messages(**options: Any) -> list[CheckMessage]:
    return [
        message
        for message in run_checks(**options)
        if message.id in ("carillon.E003", "carillon.W031")
    ]


class NoTablesRouter:
    """A database router that has none of our tables in any database."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return app_label != "carillon"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_without_an_outbox_is_an_error(
    database: Database, settings: DjangoSettings
) -> None:
    assert outbox_messages() == []
    settings.DATABASE_ROUTERS = [f"{__name__}.NoTablesRouter"]
    [message] = outbox_messages()
    assert (message.id, "router" in message.msg) == ("carillon.E003", True)
    settings.DATABASE_ROUTERS = []
    settings.CARILLON = {**settings.CARILLON, "OUTBOX_DATABASES": [database.alias, "elsewhere"]}
    [message] = outbox_messages()
    assert (message.id, "'elsewhere'" in message.msg) == ("carillon.E003", True)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_database_check_warns_of_an_outbox_without_a_relay(
    database: Database,
) -> None:
    options = {"include_deployment_checks": True, "databases": [database.alias]}
    publish_outbox("t", "x", using=database.alias)
    assert outbox_messages(**options) == []
    let_pass(database, 100)
    assert outbox_messages(include_deployment_checks=True) == []
    assert [message.id for message in outbox_messages(**options)] == ["carillon.W031"]
    Lease(database.alias, seconds=60).take()
    assert outbox_messages(**options) == []
