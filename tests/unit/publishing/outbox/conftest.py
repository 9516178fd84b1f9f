"""Each test of the outbox runs on SQLite and on PostgreSQL, with real transactions and threads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings as DjangoSettings
from pytest_django.plugin import DjangoDbBlocker

from config.environment import database as parsed
from notifications.models import OutboxEvent, OutboxLease
from notifications.publishing import outbox
from tests.harness.postgresql import postgresql
from tests.harness.servers import RedisServer, environment
from tests.unit.publishing.outbox.reading import Published

SQLITE = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}
LEASE = 1.0


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
def known(alias: str, url: str, options: dict[str, object]) -> Iterator[Database]:
    """A database that Django knows besides those in its settings."""
    given = parsed(url)
    given["OPTIONS"] = {**given.get("OPTIONS", {}), **options}
    whole = connections.configure_settings({"default": {}, alias: given})
    connections.settings[alias] = whole[alias]
    try:
        yield Database(alias, url)
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@pytest.fixture(scope="session")
def sqlite(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    file: Path = tmp_path_factory.mktemp("outbox") / "db.sqlite3"
    with django_db_blocker.unblock(), known("sqlite", f"sqlite:///{file}", SQLITE) as database:
        call_command("migrate", database=database.alias, verbosity=0)
        connections[database.alias].close()
        yield database


@pytest.fixture(scope="session")
def postgres(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    with postgresql() as url, django_db_blocker.unblock(), known("postgres", url, {}) as database:
        call_command("migrate", database=database.alias, verbosity=0)
        connections[database.alias].close()
        yield database


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    """With nothing in its outbox, and nobody who relays it."""
    found: Database = request.getfixturevalue(request.param)
    with django_db_blocker.unblock():
        OutboxEvent.objects.using(found.alias).all().delete()
        OutboxLease.objects.using(found.alias).all().delete()
        yield found
        connections[found.alias].close()


@pytest.fixture
def published(redis: RedisServer, settings: DjangoSettings, database: Database) -> Published:
    """The log, in a Redis with nothing in it."""
    settings.CARILLON = {
        "REDIS_URL": redis.url,
        "OUTBOX_DATABASES": [database.alias],
        "OUTBOX_LEASE": LEASE,
        "OUTBOX_POLL": 0.05,
    }
    return Published()


@pytest.fixture
def of_another_process(redis: RedisServer, database: Database, tmp_path: Path) -> dict[str, str]:
    """The environment of a process with this database and this log."""
    given: dict[str, Any] = {"OUTBOX_LEASE": LEASE, "OUTBOX_POLL": 0.05}
    return environment(
        redis.url,
        tmp_path,
        {
            "DJANGO_SETTINGS_MODULE": "tests.unit.publishing.outbox.site_settings",
            "DATABASE_URL": database.url,
            "OUTBOX_SETTINGS": json.dumps(given),
        },
    )
