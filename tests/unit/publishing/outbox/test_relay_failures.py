"""The relay sets a row aside that cannot be published, and outlasts failures of the database."""

import threading

import pytest
from django.db import connections, transaction
from pytest_django import Settings as DjangoSettings

from notifications import Event
from notifications.conf import get_settings
from notifications.log.entries import Draft
from notifications.log.factory import open_relay_log
from notifications.log.redis_sync import RedisSyncLog
from notifications.models import OutboxEvent
from notifications.publishing import outbox
from notifications.publishing.outbox.relay import MAX_EVENT_FAILURES
from tests.harness.databases import Database
from tests.harness.servers import RedisServer
from tests.unit.publishing.outbox.reading import (
    DEADLINE_SECONDS,
    Published,
    relaying,
    wait_until,
    write,
)

# Rows that cannot be published


@pytest.mark.parametrize(
    "broken",
    [
        {"data": b"\xff"},
        {"data": b"{", "is_text": False},
        {"topics": ""},
        {"topics": "a\n\nb"},
        {"name": ""},
        {"type": "stream.reset"},
        {"retry": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_that_is_no_event_is_set_aside_and_the_next_rows_are_published(
    database: Database, published: Published, broken: dict[str, object]
) -> None:
    valid = {"topics": "t", "name": "n", "data": b"x", "is_text": True}
    write(database.alias, "t", "before")
    OutboxEvent.objects.using(database.alias).create(**{**valid, **broken})
    write(database.alias, "t", "after")
    with relaying(database.alias):
        assert published.until(2) == ["before", "after"]
        wait_until(lambda: not database.waiting)
    assert database.refused == 1
    [row] = OutboxEvent.objects.using(database.alias).all()
    assert row.refused_at is not None
    assert row.refusal.startswith("This is no event: ")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_whose_key_was_used_for_another_event_is_set_aside(
    database: Database, published: Published
) -> None:
    write(database.alias, "t", "before", "in conflict", "after")
    row = OutboxEvent.objects.using(database.alias).order_by("pk")[1]
    other = Draft(Event(topics=["other"], data="x"), f"outbox:{row.key.hex}", "x" * 32)
    sync_log = open_relay_log(get_settings())
    sync_log.append([other])
    with relaying(database.alias):
        wait_until(lambda: published.data("t") == ["before", "after"])
    assert database.refused == 1


def test_a_row_that_redis_never_takes_is_set_aside_until_an_operator_retries_it(
    database: Database, published: Published, settings: DjangoSettings, redis: RedisServer
) -> None:
    limits = {"MAX_EVENT_BYTES": 4 * 1024 * 1024, "PUBLISH_TIMEOUT": 0.2}
    settings.CARILLON = {**settings.CARILLON, **limits}
    too_much = "x" * (1024 * 1024 + 1)
    write(database.alias, "t", "before", too_much, "after")
    with redis.client() as client:
        client.config_set("proto-max-bulk-len", 1024 * 1024)
        try:
            with relaying(database.alias, longest_failure_pause_seconds=0.01):
                assert published.until(2) == ["before", "after"]
                wait_until(lambda: not database.waiting)
        finally:
            client.config_set("proto-max-bulk-len", 512 * 1024 * 1024)
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_TIMEOUT": 5.0}  # a busy machine is slow
    assert database.refused == 1
    assert outbox.retry_refused(database.alias) == 1
    assert database.refused == 0
    with relaying(database.alias):
        assert published.until(3) == ["before", "after", too_much]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_if_redis_takes_no_entry_at_all_no_row_is_set_aside(
    database: Database, published: Published, redis: RedisServer
) -> None:
    write(database.alias, "t", "a", "b")
    with redis.client() as client:
        client.set("{carillon}:log", "not a stream")
        with relaying(database.alias, longest_failure_pause_seconds=0.01) as relay:
            wait_until(lambda: relay.failures > 4 * MAX_EVENT_FAILURES)
            assert (database.waiting, database.refused) == (2, 0)
            client.delete("{carillon}:log")
            assert published.until(2) == ["a", "b"]


# A database that is busy or away


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_locked_database_delays_and_repeats_nothing(
    database: Database,
    published: Published,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another thread begins a long write between the relay's publishing and deleting."""
    written: list[list[Draft]] = []
    begun, may_end = threading.Event(), threading.Event()
    append = RedisSyncLog.append

    def hold_lock() -> None:
        with transaction.atomic(database.alias):
            write(database.alias, "t", "last")
            begun.set()
            assert may_end.wait(DEADLINE_SECONDS)
        connections[database.alias].close()

    def append_and_lock(self: RedisSyncLog, drafts: list[Draft]) -> object:
        receipts = append(self, drafts)
        if not written:
            thread.start()
            assert begun.wait(DEADLINE_SECONDS)
        written.append(drafts)
        return receipts

    thread = threading.Thread(target=hold_lock)
    monkeypatch.setattr(RedisSyncLog, "append", append_and_lock)
    monkeypatch.setitem(connections.settings[database.alias]["OPTIONS"], "timeout", 0.05)
    write(database.alias, "t", "a", "b")
    try:
        with relaying(database.alias):
            wait_until(lambda: "database is locked" in caplog.text)
            assert published.data() == ["a", "b"]
            may_end.set()
            assert published.until(3) == ["a", "b", "last"]
            wait_until(lambda: not database.waiting)
    finally:
        may_end.set()
        thread.join(DEADLINE_SECONDS)
    assert len(written) > 1


def test_without_its_table_the_relay_reports_it_and_waits(
    database: Database, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connections[database.alias]
    table_name = OutboxEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table_name} RENAME TO elsewhere")
        try:
            with relaying(database.alias):
                wait_until(lambda: "relay.database_away" in caplog.text)
                cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table_name}")
                write(database.alias, "t", "a")
                assert published.until(1) == ["a"]
        finally:
            if table_name not in connection.introspection.table_names():
                cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table_name}")
