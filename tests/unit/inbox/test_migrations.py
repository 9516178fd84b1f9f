"""Migrations of the inbox with rows in it, forwards and backwards, while others write."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.migrations.operations import AddConstraint
from pytest_django import DjangoDbBlocker

from notifications.inbox.models import Notification
from tests.harness.databases import DATABASES, SQLITE, Database, added_database

APP = "carillon_inbox"
CREATE = {
    "postgres": "CREATE DATABASE carillon_fresh",
    "maria": "CREATE DATABASE carillon_fresh CHARACTER SET utf8mb4",
}


@contextmanager
def fresh(name: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without tables, on the server of the other tests."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/db.sqlite3"
        return
    database: Database = request.getfixturevalue(name)
    server = connections[database.alias]
    with server.cursor() as cursor:
        cursor.execute(CREATE[name])
    try:
        yield urlsplit(database.url)._replace(path="/carillon_fresh").geturl()
    finally:
        with server.cursor() as cursor:
            cursor.execute("DROP DATABASE carillon_fresh")
        server.close()


@pytest.fixture(params=DATABASES)
def at_0005(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    """A database with rows, before the last migration."""
    with (
        django_db_blocker.unblock(),
        fresh(request.param, tmp_path, request) as url,
        added_database("fresh", url, SQLITE if request.param == "sqlite" else {}) as database,
    ):
        migrate(database, APP, "0005")
        users = get_user_model().objects.using(database.alias)
        for user in [users.create(username=name) for name in ("ada", "bob")]:
            for replaces in ("a", "b", None, None):
                write(database, user.pk, replaces)
        yield database


def migrate(database: Database, *target: str) -> None:
    call_command("migrate", *target, database=database.alias, verbosity=0)


def write(database: Database, recipient: Any, replaces: str | None) -> None:
    Notification.objects.using(database.alias).create(
        recipient_id=recipient, kind="k", replaces=replaces
    )


def recipient(database: Database) -> Any:
    row = Notification.objects.using(database.alias).filter(replaces="a").first()
    assert row is not None
    return row.recipient_id


def is_unique(database: Database) -> bool:
    try:
        with transaction.atomic(using=database.alias):
            write(database, recipient(database), "a")
    except IntegrityError:
        return True
    return False


def test_rows_and_their_uniqueness_stay_there_and_back(at_0005: Database) -> None:
    for target in ((), (APP, "0005"), ()):
        migrate(at_0005, *target)
        assert is_unique(at_0005)
        assert Notification.objects.using(at_0005.alias).count() == 8
    get_user_model().objects.using(at_0005.alias).filter(username="ada").delete()
    assert Notification.objects.using(at_0005.alias).count() == 4


def test_who_writes_meanwhile_stops_no_migration(
    at_0005: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = AddConstraint.database_forwards
    person, outcomes = recipient(at_0005), list[str]()

    def write_again() -> None:
        connection = connections[at_0005.alias]
        short_wait = {
            "sqlite": "PRAGMA busy_timeout = 100",
            "postgresql": "SET lock_timeout = '100ms'",
            "mysql": "SET lock_wait_timeout = 1",
        }
        try:
            with connection.cursor() as cursor:
                cursor.execute(short_wait[connection.vendor])
            write(at_0005, person, "a")
            outcomes.append("written")
        except (IntegrityError, OperationalError) as error:
            outcomes.append(type(error).__name__)
        finally:
            connection.close()

    def add_late(self: AddConstraint, *arguments: Any) -> None:
        thread = threading.Thread(target=write_again)
        thread.start()
        thread.join()
        add(self, *arguments)

    monkeypatch.setattr(AddConstraint, "database_forwards", add_late)
    migrate(at_0005, APP)
    assert "written" not in outcomes
    assert (outcomes == []) == (connections[at_0005.alias].vendor == "mysql")
    assert is_unique(at_0005)
