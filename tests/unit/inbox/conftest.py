"""Each test of the inbox runs on SQLite, PostgreSQL and MariaDB, with a real relay and Redis."""

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings as DjangoSettings

from notifications.inbox.models import LastNumber, Notification
from tests.harness.databases import Database
from tests.harness.servers import RedisServer
from tests.unit.inbox.inboxes import Inboxes


class InboxRouter:
    """Everything is in the database of the test."""

    alias = "default"

    def db_for_read(self, model: object, **_: object) -> str:
        return self.alias

    def db_for_write(self, model: object, **_: object) -> str:
        return self.alias


@pytest.fixture
def inboxes(
    redis: RedisServer,
    settings: DjangoSettings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Inboxes:
    """Two people with empty inboxes."""
    monkeypatch.setattr(InboxRouter, "alias", database.alias)
    settings.DATABASE_ROUTERS = ["tests.unit.inbox.conftest.InboxRouter"]
    settings.CARILLON = {
        "REDIS_URL": redis.url,
        "OUTBOX_DATABASES": [database.alias],
        "OUTBOX_POLL": 0.05,
    }
    Notification.objects.all().delete()
    LastNumber.objects.all().delete()
    User.objects.all().delete()
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    return Inboxes(database.alias, ada, bob)
