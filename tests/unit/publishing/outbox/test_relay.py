"""Events in the outbox are published after their commit, in order, and otherwise never."""

import json
import threading
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from pytest_django import Settings as DjangoSettings

from notifications import Event, publish_outbox, publish_outbox_many
from notifications.conf import get_settings
from notifications.log import sections
from notifications.log.calls import run
from notifications.log.factory import open_relay_log
from notifications.log.redis_sync import RedisSyncLog
from notifications.publishing import outbox
from notifications.publishing.outbox import relay, table
from notifications.publishing.outbox.rows import Row
from notifications.telemetry.counters import process_counters
from tests.harness.databases import Database
from tests.harness.servers import RedisServer, redis_server
from tests.unit.publishing.outbox.reading import (
    DEADLINE_SECONDS,
    Published,
    relaying,
    wait_until,
    write,
)


def test_committed_events_are_published_unchanged_and_deleted(
    database: Database, published: Published
) -> None:
    with transaction.atomic(database.alias):
        first = publish_outbox("orders.1", {"ü": [1.5, None]}, type="paid", using=database.alias)
        named = Event(topics=["a", "b"], data="te\0xt\n", id="mine", retry=1500)
        publish_outbox_many([named], using=database.alias)
    assert first.cursor is None
    before = process_counters.published
    with relaying(database.alias):
        published.until(2)
        wait_until(lambda: not database.waiting)
    assert process_counters.published == before + 2
    paid, text = published.entries()
    assert (paid.topics, paid.type, paid.is_text, paid.retry) == (
        ("orders.1",),
        b"paid",
        False,
        None,
    )
    assert (paid.id.decode(), json.loads(paid.data)) == (first.id, {"ü": [1.5, None]})
    assert (text.topics, text.type, text.is_text, text.retry) == (("a", "b"), None, True, 1500)
    assert (text.id, text.data) == (b"mine", b"te\0xt\n")


def test_rolled_back_events_are_never_published(database: Database, published: Published) -> None:
    with relaying(database.alias):
        with transaction.atomic(database.alias):
            write(database.alias, "t", "rolled back")
            transaction.set_rollback(True, using=database.alias)
        with transaction.atomic(database.alias):
            write(database.alias, "t", "kept")
            with transaction.atomic(database.alias):
                write(database.alias, "t", "rolled back to a savepoint")
                transaction.set_rollback(True, using=database.alias)
        write(database.alias, "t", "without a transaction")
        assert published.until(2) == ["kept", "without a transaction"]


def test_a_backlog_is_published_in_order_however_many_batches_it_takes(
    database: Database, published: Published
) -> None:
    expected = [str(number) for number in range(1_234)]
    write(database.alias, "t", *expected)
    with relaying(database.alias):
        assert published.until(len(expected)) == expected
        wait_until(lambda: not database.waiting)


def test_each_topic_keeps_the_order_of_its_transactions_while_others_write(
    database: Database, published: Published
) -> None:
    """Four threads write, each with its own connection and topic, while a relay runs."""
    events_per_thread, threads = 40, 4

    def writer(topic: str) -> None:
        for number in range(0, events_per_thread, 2):
            with transaction.atomic(database.alias):
                write(database.alias, topic, str(number), str(number + 1))
        connections[database.alias].close()

    with relaying(database.alias):
        writers = [
            threading.Thread(target=writer, args=(f"topic-{number}",)) for number in range(threads)
        ]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join(DEADLINE_SECONDS)
        published.until(events_per_thread * threads)
        wait_until(lambda: not database.waiting)
    by_topic = defaultdict(list)
    for entry in published.entries():
        by_topic[entry.topics[0]].append(int(entry.data))
    assert by_topic == {
        f"topic-{number}": list(range(events_per_thread)) for number in range(threads)
    }


@pytest.mark.parametrize("database", ["postgres", "maria"], indirect=True)
def test_a_row_whose_transaction_commits_after_that_of_a_later_row_is_published_too(
    database: Database, published: Published
) -> None:
    """SQLite has one writer at a time, so there ids do follow the order of commits."""
    written, may_commit = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with transaction.atomic(database.alias):
            write(database.alias, "t", "first to write")
            written.set()
            assert may_commit.wait(DEADLINE_SECONDS)
        connections[database.alias].close()

    thread = threading.Thread(target=write_slowly)
    thread.start()
    try:
        assert written.wait(DEADLINE_SECONDS)
        write(database.alias, "t", "first to commit")
        with relaying(database.alias):
            assert published.until(1) == ["first to commit"]
            wait_until(lambda: not database.waiting)
            may_commit.set()
            thread.join(DEADLINE_SECONDS)
            assert published.until(2) == ["first to commit", "first to write"]
    finally:
        may_commit.set()
        thread.join(DEADLINE_SECONDS)


def test_while_redis_is_away_the_relay_waits_and_then_goes_on(
    database: Database,
    published: Published,
    settings: DjangoSettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(database.alias, "t", "0")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        settings.CARILLON = {**settings.CARILLON, "REDIS_URL": redis.url}
        stack.enter_context(relaying(database.alias))
        assert published.until(1) == ["0"]
        wait_until(lambda: not database.waiting)
        redis.kill()
        caplog.clear()
        write(database.alias, "t", "1", "2")
        wait_until(lambda: "relay.log_away" in caplog.text)
        assert (database.waiting, database.refused) == (2, 0)
        assert outbox.backlog(database.alias).age > 0
        with redis_server(tmp_path, port=redis.port):
            assert published.until(3) == ["0", "1", "2"]
            wait_until(lambda: not database.waiting)
    assert outbox.backlog(database.alias).age == 0
    assert [text.split()[0] for text in caplog.messages if "relay" in text] == [
        "relay.log_away",
        "relay.recovered",
    ]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_events_that_redis_kept_without_acknowledging_are_not_repeated(
    database: Database,
    published: Published,
    settings: DjangoSettings,
    redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_TIMEOUT": 0.2}
    with relaying(database.alias) as relay:
        write(database.alias, "t", "0")
        published.until(1)
        wait_until(lambda: not database.waiting)
        redis.pause()
        try:
            write(database.alias, "t", "1", "2", "3")
            wait_until(lambda: relay.failures >= 3)
        finally:
            redis.resume()
        write(database.alias, "t", "4")
        assert published.until(5) == ["0", "1", "2", "3", "4"]
        wait_until(lambda: not database.waiting)
    assert published.data() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_event_that_a_repetition_has_published_is_recognised(
    database: Database, published: Published
) -> None:
    """The repetition may be by another relay, or a later call of the same one."""
    write(database.alias, "t", "a")
    sync_log = open_relay_log(get_settings())
    assert isinstance(sync_log, RedisSyncLog)
    [row] = table.oldest(database.alias, 1)
    calls = sync_log._calls
    [event] = row.events()
    section = sections.repetition(sections.section(calls._keys, [event.draft(event.data)]), None)
    run(calls._append([section], DEADLINE_SECONDS))
    assert published.data() == ["a"]
    with relaying(database.alias):
        wait_until(lambda: not database.waiting)
    assert published.data() == ["a"]


# When it looks


class Looks:
    """Counts how often a relay asks for rows, and how often it only looks whether there are any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = self.looks = 0
        self.now = self.seconds = 0.0
        monkeypatch.setattr(relay, "monotonic", lambda: self.now)
        oldest, is_any_waiting = table.oldest, table.is_any_waiting

        def read(using: str, count: int) -> list[Row]:
            self.reads += 1
            return oldest(using, count)

        def look(using: str) -> bool:
            self.looks += 1
            self.now += self.seconds
            return is_any_waiting(using)

        monkeypatch.setattr(table, "oldest", read)
        monkeypatch.setattr(table, "is_any_waiting", look)


def test_a_relay_pauses_where_nothing_waits(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    idle = outbox.Relay(database.alias, get_settings())
    poll = get_settings().OUTBOX_POLL
    pauses = [idle._step() for _ in range(3)]
    assert (pauses, looks.reads, looks.looks) == ([0, poll, poll], 1, 2)
    publish_outbox("t", "x", using=database.alias)
    pauses = [idle._step() for _ in range(3)]
    assert (pauses, looks.reads, looks.looks) == ([0, poll, poll], 2, 5)
    assert len(published.entries()) == 1


def test_a_relay_reads_on_where_there_may_be_more(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    busy = outbox.Relay(database.alias, get_settings())
    busy.batch_size.rows = 2
    monkeypatch.setattr(busy.batch_size, "groups", iter)
    publish_outbox_many([Event(topics=["t"], data=str(n)) for n in range(3)], using=database.alias)
    assert [busy._step() for _ in range(3)] == [0, 0, get_settings().OUTBOX_POLL]
    assert (looks.reads, looks.looks) == (2, 1)
    assert len(published.entries()) == 3


@pytest.mark.parametrize(
    ("seconds", "pause"), [(0.001, 0.05), (0.02, 0.4), (5, relay.LONGEST_LOOK_PAUSE_SECONDS)]
)
def test_looks_that_take_long_are_few(
    database: Database,
    published: Published,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    pause: float,
) -> None:
    """Of very many refused rows, for one, each look meets all."""
    looks = Looks(monkeypatch)
    looks.seconds = seconds
    idle = outbox.Relay(database.alias, get_settings())
    idle._step()
    assert idle._step() == pytest.approx(pause)
    looks.seconds = 0
    idle._step()
    assert idle._step() == get_settings().OUTBOX_POLL


def test_a_relay_that_fails_looks_for_all_rows_again(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it also releases the keys of rows that somebody else has removed meanwhile."""
    failing = outbox.Relay(database.alias, get_settings())
    failing._step()
    publish_outbox("t", "x", using=database.alias)
    remove = table.remove

    def remove_and_fail(*arguments: Any, **options: Any) -> list[Row]:
        gone = remove(*arguments, **options)
        failing._released += [row.idempotency_key for row in gone]
        raise DatabaseError("The connection was lost.")

    monkeypatch.setattr(table, "remove", remove_and_fail)
    failing._step()
    assert failing._released
    failing._step()
    assert not failing._released
