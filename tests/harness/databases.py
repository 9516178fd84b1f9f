"""Real databases, SQLite, PostgreSQL and MariaDB, each with its tables and real transactions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from config.variables import database as parsed
from notifications.models import OutboxEvent, OutboxLease
from notifications.publishing import outbox
from tests.harness.mariadb import mariadb
from tests.harness.postgresql import postgresql

DATABASES = ("sqlite", "postgres", "maria")
SQLITE = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}


@dataclass(frozen=True)
class Database:
    alias: str
    url: str

    @property
    def waiting(self) -> int:
        return outbox.backlog(self.alias).waiting

    @property
    def refused(self) -> int:
        return outbox.backlog(self.alias).refused

    @property
    def relayed(self) -> bool:
        return outbox.backlog(self.alias).relayed


@contextmanager
def added_database(alias: str, url: str, options: dict[str, object]) -> Iterator[Database]:
    """A database that Django knows in addition to those in its settings."""
    parameters = parsed(url)
    parameters["OPTIONS"] = {**parameters.get("OPTIONS", {}), **options}
    configured = connections.configure_settings({"default": {}, alias: parameters})
    connections.settings[alias] = configured[alias]
    try:
        yield Database(alias, url)
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@contextmanager
def migrated(
    alias: str, url: str, options: dict[str, Any], django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    with django_db_blocker.unblock(), added_database(alias, url, options) as database:
        call_command("migrate", database=database.alias, verbosity=0)
        connections[database.alias].close()
        yield database


@pytest.fixture(scope="session")
def sqlite(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    file: Path = tmp_path_factory.mktemp("outbox") / "db.sqlite3"
    with migrated("sqlite", f"sqlite:///{file}", SQLITE, django_db_blocker) as database:
        yield database


@pytest.fixture(scope="session")
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    with postgresql() as url, migrated("postgres", url, {}, django_db_blocker) as database:
        yield database


@pytest.fixture(scope="session")
def maria(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    with mariadb() as url, migrated("maria", url, {}, django_db_blocker) as database:
        yield database


@pytest.fixture(params=DATABASES)
def database(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    """A database with an empty outbox and without a relay. Each test runs on all three.

    TEST_DATABASE names one: what would run on several runs on that one only.
    """
    database: Database = request.getfixturevalue(request.param)
    with django_db_blocker.unblock():
        OutboxEvent.objects.using(database.alias).all().delete()
        OutboxLease.objects.using(database.alias).all().delete()
        yield database
        connections[database.alias].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = os.environ.get("TEST_DATABASE")
    if wanted not in DATABASES:
        return
    # A test that has been given another database alone runs there.
    tests = {_test(item) for item in items if _database(item) == wanted}
    left_out = [
        item for item in items if _database(item) not in (None, wanted) and _test(item) in tests
    ]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def _test(item: pytest.Item) -> tuple[object, str]:
    """The function of a test, whatever its parameters."""
    return item.parent, getattr(item, "originalname", item.name)


def _database(item: pytest.Item) -> object:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("database")
