"""Each test of the outbox runs on SQLite, PostgreSQL and MariaDB, with real transactions."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings as DjangoSettings

from tests.harness.databases import Database
from tests.harness.servers import RedisServer, environment
from tests.unit.publishing.outbox.reading import Published

LEASE_SECONDS = 1.0


@pytest.fixture
def published(redis: RedisServer, settings: DjangoSettings, database: Database) -> Published:
    """The events in the log, which is in an empty Redis."""
    settings.CARILLON = {
        "REDIS_URL": redis.url,
        "OUTBOX_DATABASES": [database.alias],
        "OUTBOX_LEASE": LEASE_SECONDS,
        "OUTBOX_POLL": 0.05,
    }
    return Published()


@pytest.fixture
def process_environment(redis: RedisServer, database: Database, tmp_path: Path) -> dict[str, str]:
    """The environment of a process with this database and this log."""
    outbox_settings: dict[str, Any] = {"OUTBOX_LEASE": LEASE_SECONDS, "OUTBOX_POLL": 0.05}
    return environment(
        redis.url,
        tmp_path,
        {
            "DJANGO_SETTINGS_MODULE": "tests.unit.publishing.outbox.site_settings",
            "DATABASE_URL": database.url,
            "OUTBOX_SETTINGS": json.dumps(outbox_settings),
        },
    )
