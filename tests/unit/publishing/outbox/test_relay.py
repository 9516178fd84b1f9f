"""What is written into the outbox is published after its commit, in order, and otherwise never."""

import json
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from django.db import connections, transaction
from pytest_django import Settings as DjangoSettings

from notifications import Event, publish_outbox, publish_outbox_many
from notifications.conf import get_settings
from notifications.log import script
from notifications.log.base import Draft
from notifications.log.factory import relay_appender
from notifications.log.redis_sync import RedisAppender
from notifications.models import OutboxEvent
from notifications.publishing import outbox
from notifications.publishing.outbox import relay as relay_module
from notifications.publishing.outbox import table as table_module
from notifications.telemetry.counters import process_counters
from tests.harness.servers import RedisServer, free_port, redis_server
from tests.unit.publishing.outbox.conftest import Database
from tests.unit.publishing.outbox.reading import DEADLINE, Published, relaying, wait_until


def write(database: Database, topic: str, *data: str) -> None:
    events = [Event(topics=[topic], data=each) for each in data]
    publish_outbox_many(events, using=database.alias)


def test_what_was_committed_is_published_as_it_was_and_is_gone_then(
    database: Database, published: Published
) -> None:
    with transaction.atomic(database.alias):
        first = publish_outbox("orders.1", {"ü": [1.5, None]}, type="paid", using=database.alias)
        mine = Event(topics=["a", "b"], data="te\0xt\n", id="mine", retry=1500)
        publish_outbox_many([mine], using=database.alias)
    assert first.cursor is None
    before = process_counters.published
    with relaying(database.alias):
        published.until(2)
        wait_until(lambda: not database.waiting)
    assert process_counters.published == before + 2
    one, two = published.entries()
    assert (one.topics, one.type, one.is_text, one.retry) == (("orders.1",), b"paid", False, None)
    assert (one.id.decode(), json.loads(one.data)) == (first.id, {"ü": [1.5, None]})
    assert (two.topics, two.type, two.is_text, two.retry) == (("a", "b"), None, True, 1500)
    assert (two.id, two.data) == (b"mine", b"te\0xt\n")


def test_what_was_rolled_back_is_never_published(database: Database, published: Published) -> None:
    with relaying(database.alias):
        with transaction.atomic(database.alias):
            write(database, "t", "rolled back")
            transaction.set_rollback(True, using=database.alias)
        with transaction.atomic(database.alias):
            write(database, "t", "kept")
            with transaction.atomic(database.alias):
                write(database, "t", "rolled back to a savepoint")
                transaction.set_rollback(True, using=database.alias)
        write(database, "t", "without a transaction")
        assert published.until(2) == ["kept", "without a transaction"]


def test_a_backlog_is_published_in_order_however_many_batches_it_takes(
    database: Database, published: Published
) -> None:
    expected = [str(number) for number in range(1_234)]
    write(database, "t", *expected)
    with relaying(database.alias):
        assert published.until(len(expected)) == expected
        wait_until(lambda: not database.waiting)


def test_each_topic_is_in_the_order_of_its_transactions_whoever_writes_at_the_same_time(
    database: Database, published: Published
) -> None:
    """Four threads, each with a connection and a topic of its own, while it is relayed."""
    each, threads = 40, 4

    def writer(topic: str) -> None:
        for number in range(0, each, 2):
            with transaction.atomic(database.alias):
                write(database, topic, str(number), str(number + 1))
        connections[database.alias].close()

    with relaying(database.alias):
        writers = [
            threading.Thread(target=writer, args=(f"topic-{number}",)) for number in range(threads)
        ]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join(DEADLINE)
        published.until(each * threads)
        wait_until(lambda: not database.waiting)
    heard = defaultdict(list)
    for entry in published.entries():
        heard[entry.topics[0]].append(int(entry.data))
    assert heard == {f"topic-{number}": list(range(each)) for number in range(threads)}


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_row_whose_transaction_commits_after_that_of_a_later_row_is_published_too(
    database: Database, published: Published
) -> None:
    """SQLite has one writer at a time, so there ids do follow the order of commits."""
    written, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic(database.alias):
            write(database, "t", "first to write")
            written.set()
            assert may_commit.wait(DEADLINE)
        connections[database.alias].close()

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        assert written.wait(DEADLINE)
        write(database, "t", "first to commit")
        with relaying(database.alias):
            assert published.until(1) == ["first to commit"]
            wait_until(lambda: not database.waiting)
            may_commit.set()
            thread.join(DEADLINE)
            assert published.until(2) == ["first to commit", "first to write"]
    finally:
        may_commit.set()
        thread.join(DEADLINE)


def test_while_redis_is_away_it_waits_and_then_goes_on_where_it_was(
    database: Database,
    published: Published,
    settings: DjangoSettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    settings.CARILLON |= {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    settings.CARILLON = dict(settings.CARILLON)
    write(database, "t", "0")
    with relaying(database.alias):
        with redis_server(tmp_path, port=port) as redis:
            assert published.until(1) == ["0"]
            wait_until(lambda: not database.waiting)
            redis.kill()
        caplog.clear()
        write(database, "t", "1", "2")
        wait_until(lambda: "relay.log_away" in caplog.text)
        assert (database.waiting, database.refused) == (2, 0)
        assert outbox.backlog(database.alias).age > 0
        with redis_server(tmp_path, port=port):
            assert published.until(3) == ["0", "1", "2"]
            wait_until(lambda: not database.waiting)
    assert outbox.backlog(database.alias).age == 0
    assert [text.split()[0] for text in caplog.messages if "relay" in text] == [
        "relay.log_away",
        "relay.goes_on",
    ]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_redis_took_and_could_not_acknowledge_is_not_repeated(
    database: Database,
    published: Published,
    settings: DjangoSettings,
    redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_TIMEOUT": 0.2}
    with relaying(database.alias) as relays:
        write(database, "t", "0")
        published.until(1)
        wait_until(lambda: not database.waiting)
        redis.pause()
        try:
            write(database, "t", "1", "2", "3")
            wait_until(lambda: relays.relays[0]._failures >= 3)
        finally:
            redis.resume()
        write(database, "t", "4")
        assert published.until(5) == ["0", "1", "2", "3", "4"]
        wait_until(lambda: not database.waiting)
    assert published.data() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_was_kept_by_a_repetition_that_nobody_heard_of_is_recognised(
    database: Database, published: Published
) -> None:
    """By another relay, or by a later call of the same one."""
    write(database, "t", "a")
    appender = relay_appender(get_settings())
    assert isinstance(appender, RedisAppender)
    [row] = table_module.oldest(database.alias, 1)
    call = script.append(appender._keys, appender._retention, [row.draft()])
    appender._ask(script.repetition(call, None), timeout=DEADLINE)
    assert published.data() == ["a"]
    with relaying(database.alias):
        wait_until(lambda: not database.waiting)
    assert published.data() == ["a"]


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
def test_a_row_that_is_no_event_is_set_aside_and_holds_up_nobody(
    database: Database, published: Published, broken: dict[str, object]
) -> None:
    whole = {"topics": "t", "name": "n", "data": b"x", "is_text": True}
    write(database, "t", "before")
    OutboxEvent.objects.using(database.alias).create(**{**whole, **broken})
    write(database, "t", "after")
    with relaying(database.alias):
        assert published.until(2) == ["before", "after"]
        wait_until(lambda: not database.waiting)
    assert database.refused == 1
    [row] = OutboxEvent.objects.using(database.alias).all()
    assert row.refused_at is not None
    assert row.refusal.startswith("This is no event: ")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_whose_key_was_used_for_something_else_is_set_aside(
    database: Database, published: Published
) -> None:
    write(database, "t", "before", "in conflict", "after")
    row = OutboxEvent.objects.using(database.alias).order_by("pk")[1]
    other = Draft(Event(topics=["other"], data="x"), f"outbox:{row.key.hex}", "x" * 32)
    appender = relay_appender(get_settings())
    appender.append([other])
    with relaying(database.alias):
        wait_until(lambda: published.data("t") == ["before", "after"])
    assert database.refused == 1


def test_a_row_that_redis_itself_never_takes_is_set_aside_until_somebody_says_otherwise(
    database: Database,
    published: Published,
    settings: DjangoSettings,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"MAX_EVENT_BYTES": 4 * 1024 * 1024, "PUBLISH_TIMEOUT": 0.2}
    settings.CARILLON = {**settings.CARILLON, **given}
    monkeypatch.setattr(relay_module, "LONGEST_PAUSE", 0.01)
    too_much = "x" * (1024 * 1024 + 1)
    write(database, "t", "before", too_much, "after")
    with redis.client() as client:
        client.config_set("proto-max-bulk-len", 1024 * 1024)
        try:
            with relaying(database.alias):
                assert published.until(2) == ["before", "after"]
                wait_until(lambda: not database.waiting)
        finally:
            client.config_set("proto-max-bulk-len", 512 * 1024 * 1024)
    assert database.refused == 1
    assert outbox.retry_refused(database.alias) == 1
    assert database.refused == 0
    with relaying(database.alias):
        assert published.until(3) == ["before", "after", too_much]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_where_redis_takes_nothing_at_all_no_row_is_to_blame(
    database: Database,
    published: Published,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "LONGEST_PAUSE", 0.01)
    write(database, "t", "a", "b")
    with redis.client() as client:
        client.set("{carillon}:log", "not a stream")
        with relaying(database.alias) as relays:
            wait_until(lambda: relays.relays[0]._failures > 4 * relay_module.MANY_TRIES)
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
    """Somebody writes for a long time, from between publishing and deleting."""
    written: list[list[Draft]] = []
    begun, may_end = threading.Event(), threading.Event()
    append = RedisAppender.append

    def lock() -> None:
        with transaction.atomic(database.alias):
            write(database, "t", "last")
            begun.set()
            assert may_end.wait(DEADLINE)
        connections[database.alias].close()

    def append_and_lock(self: RedisAppender, drafts: list[Draft]) -> object:
        receipts = append(self, drafts)
        if not written:
            thread.start()
            assert begun.wait(DEADLINE)
        written.append(drafts)
        return receipts

    thread = threading.Thread(target=lock)
    monkeypatch.setattr(RedisAppender, "append", append_and_lock)
    monkeypatch.setitem(connections.settings[database.alias]["OPTIONS"], "timeout", 0.05)
    write(database, "t", "a", "b")
    try:
        with relaying(database.alias):
            wait_until(lambda: "database is locked" in caplog.text)
            assert published.data() == ["a", "b"]
            may_end.set()
            assert published.until(3) == ["a", "b", "last"]
            wait_until(lambda: not database.waiting)
    finally:
        may_end.set()
        thread.join(DEADLINE)
    assert len(written) > 1


def test_without_its_table_it_says_so_and_waits(
    database: Database, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connections[database.alias]
    table = OutboxEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            with relaying(database.alias):
                wait_until(lambda: "relay.database_away" in caplog.text)
                cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
                write(database, "t", "a")
                assert published.until(1) == ["a"]
        finally:
            if table not in connection.introspection.table_names():
                cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
