"""Writing into the outbox: only events get there, and a relay in the process is woken."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connections, transaction
from pytest_django import Settings as DjangoSettings

from notifications import Event, Invalid, TooLarge, publish_outbox, publish_outbox_many
from notifications.errors import Unavailable
from notifications.publishing.outbox import table
from notifications.publishing.outbox.table import backlog
from notifications.testing import assert_published, empty_log, outbox, relay_outbox
from tests.harness.databases import Database
from tests.harness.servers import free_port
from tests.unit.publishing.outbox.reading import Published, relaying

pytestmark = pytest.mark.usefixtures("published")


def test_arguments_that_make_no_event_are_refused_when_written(
    database: Database, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_EVENT_BYTES": 10}
    with pytest.raises(Invalid):
        publish_outbox("", "x", using=database.alias)
    with pytest.raises(Invalid):
        publish_outbox("t", object(), using=database.alias)
    with pytest.raises(TooLarge):
        publish_outbox("t", "x" * 11, using=database.alias)
    events = [Event(topics=["t"], data=data) for data in ("x", "x" * 11)]
    with pytest.raises(TooLarge):
        publish_outbox_many(events, using=database.alias)
    assert database.waiting == 0


def test_the_columns_hold_the_longest_topics_type_and_id(database: Database) -> None:
    topics = [f"{number:03}" + "ü" * 126 for number in range(100)]
    publish_outbox(topics, "x", type="y" * 255, id="é" * 127, using=database.alias)
    assert database.waiting == 1


def test_a_database_without_a_relay_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match=f"No relay reads .* 'default'.*{database.alias}"):
        publish_outbox("t", "x")


def test_the_outbox_is_read_where_it_is_written(
    database: Database, settings: DjangoSettings
) -> None:
    settings.DATABASE_ROUTERS = ["tests.harness.routers.AllReads"]
    publish_outbox("t", "x", using=database.alias)
    assert backlog(database.alias).waiting == 1
    assert relay_outbox(database.alias) == 1
    assert database.waiting == 0


def test_writing_needs_no_redis(database: Database, settings: DjangoSettings) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    settings.CARILLON = {**settings.CARILLON, "REDIS_URL": nowhere}
    publish_outbox("t", "x", using=database.alias)
    with pytest.raises(Unavailable):
        relay_outbox(database.alias)
    assert database.waiting == 1


@contextmanager
def commit_hooks(database: Database) -> Iterator[list[object]]:
    hooks: list[object] = []
    with transaction.atomic(database.alias):
        yield hooks
        hooks += connections[database.alias].run_on_commit


def test_a_commit_hook_is_added_only_if_this_process_has_a_relay_to_wake(
    database: Database,
) -> None:
    with commit_hooks(database) as hooks:
        publish_outbox("t", "x", using=database.alias)
    assert hooks == []
    with relaying(database.alias), commit_hooks(database) as hooks:
        publish_outbox("t", "x", using=database.alias)
    assert len(hooks) == 1


def test_a_relay_of_this_process_is_woken_by_the_commit(
    database: Database, settings: DjangoSettings, published: Published
) -> None:
    settings.CARILLON = {**settings.CARILLON, "OUTBOX_POLL": 60, "OUTBOX_LEASE": 300}
    publish_outbox("t", "0", using=database.alias)
    with relaying(database.alias):
        published.until(1)
        for number in range(1, 5):
            publish_outbox("t", str(number), using=database.alias)
            published.until(number + 1)


def test_a_look_finds_what_is_to_be_published(database: Database) -> None:
    assert not table.is_any_waiting(database.alias)
    publish_outbox("t", "x", using=database.alias)
    assert table.is_any_waiting(database.alias)
    [row] = table.oldest(database.alias, 1)
    table.refuse_row(row, "x", using=database.alias)
    assert not table.is_any_waiting(database.alias)
    table.retry_refused(database.alias)
    assert table.is_any_waiting(database.alias)


def test_without_the_table_the_application_gets_the_error(database: Database) -> None:
    with connections[database.alias].cursor() as cursor:
        cursor.execute("ALTER TABLE carillon_outboxevent RENAME TO renamed")
        try:
            with pytest.raises(DatabaseError), transaction.atomic(database.alias):
                publish_outbox("t", "x", using=database.alias)
        finally:
            cursor.execute("ALTER TABLE renamed RENAME TO carillon_outboxevent")


# In tests of applications


def test_tests_relay_by_hand(database: Database, settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "LOG": "memory"}
    with empty_log(), transaction.atomic(database.alias):
        publish_outbox("t", {"text": "Paid"}, using=database.alias)
        publish_outbox("t", {"text": "Sent"}, using=database.alias)
        assert outbox == []
        assert relay_outbox(database.alias) == 2
        assert_published("t", {"text": "Paid"}, count=1)
        assert [event.data for event in outbox] == [{"text": "Paid"}, {"text": "Sent"}]
        assert relay_outbox(database.alias) == 0
