"""How the outbox is doing, as operators are told: by the command, by health, and by the checks."""

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
from notifications.publishing.outbox import table as table_module
from notifications.publishing.outbox.lease import Lease
from tests.unit.publishing.outbox.conftest import Database

pytestmark = pytest.mark.usefixtures("published")


def carillon(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("carillon", "relay", *arguments, stdout=output)
    return output.getvalue().splitlines()


def later(database: Database, seconds: float) -> None:
    """What was written was written so much earlier."""
    written = OutboxEvent.objects.using(database.alias)
    written.update(created_at=F("created_at") - timedelta(seconds=seconds))


def refuse(database: Database) -> None:
    publish_outbox("t", "refused", using=database.alias)
    row = table_module.oldest(database.alias, 100)[-1]
    table_module.refuse(row, "why not", using=database.alias)


def test_a_backlog_is_its_number_and_the_age_of_the_oldest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outbox.backlog(database.alias) == outbox.Backlog(0, 0.0, 0, relayed=False)
    publish_outbox("t", "first", using=database.alias)
    later(database, 100)
    refuse(database)
    later(database, 100)
    publish_outbox("t", "last", using=database.alias)
    Lease(database.alias, seconds=60).take()
    found = outbox.backlog(database.alias)
    assert (found.waiting, found.refused, found.relayed) == (2, 1, True)
    assert 200 <= found.age < 230
    monkeypatch.setattr(table_module, "MAX_COUNTED", 1)
    assert outbox.backlog(database.alias).waiting == 1


def test_the_status_is_printed(database: Database) -> None:
    head, line = carillon("--status")
    assert head.split() == ["DATABASE", "WAITING", "OLDEST", "REFUSED", "RELAY"]
    assert line.split() == [database.alias, "0", "-", "0", "none"]
    publish_outbox("t", "x", using=database.alias)
    refuse(database)
    later(database, 100)
    Lease(database.alias, seconds=60).take()
    [_, line] = carillon("--status", "--database", database.alias)
    alias, waiting, age, _, refused, relay = line.split(maxsplit=5)
    assert (alias, waiting, refused, relay) == (database.alias, "1", "1", "at work")
    assert 100 <= float(age) < 130


def test_what_was_refused_is_tried_again(database: Database) -> None:
    refuse(database)
    refuse(database)
    assert carillon("--retry-refused") == ["Tried again: 2"]
    assert (database.waiting, database.refused) == (2, 0)


def test_the_relay_refuses_what_it_cannot_do(database: Database, settings: DjangoSettings) -> None:
    with pytest.raises(CommandError, match="without 'elsewhere'"):
        carillon("--database", "elsewhere")
    settings.CARILLON = {**settings.CARILLON, "LOG": "memory"}
    with pytest.raises(CommandError, match=r"in-process"):
        carillon()


def test_without_its_table_the_command_says_what_to_do(database: Database) -> None:
    connection = connections[database.alias]
    table = OutboxEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            for arguments in ([], ["--status"]):
                with pytest.raises(CommandError, match="is it migrated"):
                    carillon(*arguments)
            assert Client().get("/health/outbox").status_code == 503
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


def test_health_tells_of_each_outbox_and_fails_where_something_waited_for_long(
    database: Database,
) -> None:
    publish_outbox("t", "x", using=database.alias)
    response = Client().get("/health/outbox")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    told = response.json()
    age = told["databases"][database.alias].pop("age")
    assert 0 <= age < 30
    counted = {"waiting": 1, "refused": 0, "relayed": False}
    assert told == {"status": "outbox", "databases": {database.alias: counted}}
    later(database, 100)
    response = Client().get("/health/outbox")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    told = response.json()
    assert told["type"] == "urn:carillon:problem:outbox-late"
    assert told["databases"][database.alias]["age"] > 100


# The checks


def found(**options: Any) -> list[CheckMessage]:
    return [
        message
        for message in run_checks(**options)
        if message.id in ("carillon.E003", "carillon.W031")
    ]


class Keeper:
    """A router that wants none of our tables anywhere."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return app_label != "carillon"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_without_an_outbox_is_an_error(
    database: Database, settings: DjangoSettings
) -> None:
    assert found() == []
    settings.DATABASE_ROUTERS = [f"{__name__}.Keeper"]
    [message] = found()
    assert (message.id, "router" in message.msg) == ("carillon.E003", True)
    settings.DATABASE_ROUTERS = []
    settings.CARILLON = {**settings.CARILLON, "OUTBOX_DATABASES": [database.alias, "elsewhere"]}
    [message] = found()
    assert (message.id, "'elsewhere'" in message.msg) == ("carillon.E003", True)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_outbox_that_nothing_relays_is_warned_of_where_the_database_is_asked(
    database: Database,
) -> None:
    asked = {"include_deployment_checks": True, "databases": [database.alias]}
    publish_outbox("t", "x", using=database.alias)
    assert found(**asked) == []
    later(database, 100)
    assert found(include_deployment_checks=True) == []
    assert [message.id for message in found(**asked)] == ["carillon.W031"]
    Lease(database.alias, seconds=60).take()
    assert found(**asked) == []
