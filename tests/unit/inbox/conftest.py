"""Each test of the inbox runs on SQLite, PostgreSQL and MariaDB, with a real relay and Redis."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings as DjangoSettings

from notifications.inbox.models import Delivery, LastNumber, Notification
from tests.harness.databases import Database
from tests.harness.servers import RedisServer
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.mailing import Backend, Clock
from tests.unit.inbox.shop import shop


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("django.utils.timezone.now", clock)
    return clock


@pytest.fixture
def mailing(
    settings: DjangoSettings, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A shop that mails people, and a mail server that keeps what it gets."""
    settings.CARILLON = {**settings.CARILLON, "SITE_URL": "https://shop.example"}
    settings.DEFAULT_FROM_EMAIL = "Shop <shop@shop.example>"
    monkeypatch.setattr("notifications.inbox.delivery.email._default_backend", Backend)
    Delivery.objects.all().delete()
    for user in (inboxes.ada, inboxes.bob):
        user.email = f"{user.username}@example.com"
        user.save()
    Backend.fault = None
    Backend.opened = Backend.closed = 0
    with shop():
        yield
