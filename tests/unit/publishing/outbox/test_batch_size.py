"""How many events the relay prepares and publishes at once."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from notifications.conf import get_settings
from notifications.errors import Unavailable
from notifications.events import Event
from notifications.log.entries import Draft, Receipt
from notifications.log.redis_sync import RedisSyncLog
from notifications.publishing import outbox
from notifications.publishing.outbox import completion, table
from notifications.publishing.outbox.batch_size import (
    BATCHES_AT_ONCE,
    FIRST_BATCH_EVENTS,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    BatchSize,
)
from notifications.publishing.outbox.lease import NEVER
from notifications.publishing.outbox.relay import Relay
from notifications.publishing.outbox.rows import Row, WaitingEvent
from tests.harness.databases import Database
from tests.unit.publishing.outbox.reading import Published

TYPE = "test.batch_size"
BATCH = 10


def events_of_row(count: int) -> list[WaitingEvent]:
    row = Row(1, uuid4(), "", "", "", b"", is_text=False, retry=None, swap="", per_topic=True)
    return [WaitingEvent(row, number, ("t",), "", "", "", number) for number in range(count)]


def rows_of(*counts: int) -> Iterator[list[WaitingEvent]]:
    """Rows of so many events. The last of them must not be asked for."""
    for count in counts:
        yield events_of_row(count)
    pytest.fail("It asks for a row that it cannot need.")


def test_no_row_is_read_after_those_that_fill_the_batches() -> None:
    size = BatchSize()
    most = size.events * BATCHES_AT_ONCE
    assert len(size.cut(rows_of(most // 2, most // 2))) == most
    assert size.rows == 4  # as many rows again, and as many more
    assert len(size.cut(rows_of(most + 1))) == most
    assert len(size.cut(rows_of(most // 2, most // 2 + 1))) == most // 2
    assert len(size.cut(iter([events_of_row(3), events_of_row(4)]))) == 7
    assert size.rows == most


def test_no_more_bytes_are_prepared_than_the_batches_may_have() -> None:
    size = BatchSize()
    rows = [events_of_row(1) for _ in range(20)]
    for [event] in rows:
        event.row.data = bytes(MAX_BATCH_BYTES)
    assert len(size.cut(rows)) == BATCHES_AT_ONCE
    assert len(size.cut(rows[:1])) == 1


def drafts_of(*sizes: int) -> list[Draft]:
    return [Draft(Event(topics=("t",), data="x" * size)) for size in sizes]


def test_one_call_has_no_more_bytes_than_a_batch_may_have_but_one_event_at_least() -> None:
    size, half = BatchSize(), MAX_BATCH_BYTES // 2
    assert size.of(drafts_of(half, half + 1, half)) == 1
    assert size.of(drafts_of(half, 10, half)) == 2
    assert size.of(drafts_of(2 * MAX_BATCH_BYTES, 10)) == 1
    assert size.of(drafts_of(*[10] * 1_000)) == size.events


def test_it_grows_with_full_batches_and_shrinks_with_failures() -> None:
    size = BatchSize()
    for count in (size.events - 1, size.events, 2 * size.events):
        size.published(count)
    assert size.events == 4 * FIRST_BATCH_EVENTS
    for _ in range(3):
        size.published(size.events)
    assert size.events == MAX_BATCH_EVENTS
    size.failed(10)
    assert size.events == 5
    for _ in range(BATCHES_AT_ONCE):
        size.published(5)
    assert size.events == 10


@pytest.fixture
def relay(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> tuple[Relay, list[int]]:
    """A relay of small batches, beside a row that fills all of them, and what it has completed."""
    completed: list[int] = []

    def complete(_: str, written: list[int]) -> list[int]:
        completed.append(len(written))
        return written

    monkeypatch.setitem(completion._completions, TYPE, complete)
    given = [(f"topic-{number}", number) for number in range(BATCH * BATCHES_AT_ONCE)]
    outbox.write_per_topic(given, type=TYPE, using=database.alias)
    relay = Relay(database.alias, get_settings())
    relay.batch_size.events = BATCH
    return relay, completed


def test_batches_are_prepared_together_and_appended_one_after_another(
    database: Database,
    published: Published,
    relay: tuple[Relay, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    appended: list[int] = []
    append = RedisSyncLog.append

    def count_and_append(self: RedisSyncLog, drafts: list[Draft]) -> list[Receipt]:
        appended.append(len(drafts))
        return append(self, drafts)

    monkeypatch.setattr(RedisSyncLog, "append", count_and_append)
    total = BATCH * BATCHES_AT_ONCE
    assert relay[0].publish(table.oldest(database.alias, 1)) == total
    assert relay[1] == [total]
    assert appended == [BATCH, 2 * BATCH, BATCH]
    assert published.data() == [str(number) for number in range(total)]
    assert database.waiting == 0


def test_what_follows_a_batch_that_the_log_did_not_take_waits(
    database: Database,
    published: Published,
    relay: tuple[Relay, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = RedisSyncLog.append

    def append_first(self: RedisSyncLog, drafts: list[Draft]) -> list[Receipt]:
        if drafts[0].event.data:
            raise Unavailable("The log is away.", outcome="not_sent")
        return append(self, drafts)

    with monkeypatch.context() as patch:
        patch.setattr(RedisSyncLog, "append", append_first)
        with pytest.raises(Unavailable):
            relay[0].publish(table.oldest(database.alias, 1))
    [row] = table.oldest(database.alias, 1)
    total = BATCH * BATCHES_AT_ONCE
    assert [event.number for event in row.events()] == list(range(BATCH, total))
    assert outbox.publish_waiting(database.alias, get_settings()) == total - BATCH
    assert published.data() == [str(number) for number in range(total)]


def test_what_waits_behind_many_postponed_events_is_published(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        completion._completions,
        TYPE,
        lambda _, written: [completion.POSTPONED if each == "late" else each for each in written],
    )
    relay = Relay(database.alias, get_settings())
    relay.batch_size.failed(1)
    late = [(f"topic-{number}", "late") for number in range(3 * BATCHES_AT_ONCE)]
    outbox.write_per_topic(late, type=TYPE, using=database.alias)
    outbox.write_per_topic([("topic", "free")], type=TYPE, using=database.alias)
    steps = 0
    while not relay.publish(table.oldest(database.alias, relay.batch_size.rows)):
        steps += 1
        assert steps < 5
    assert published.data() == ["free"]


def test_a_relay_that_has_lost_its_lease_appends_no_further_batch(
    database: Database, relay: tuple[Relay, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    its_relay, _ = relay
    assert its_relay._acquire_lease()
    remove = table.remove

    def remove_late(*arguments: Any, **options: Any) -> Any:
        its_relay._lease._renewed_at = NEVER
        return remove(*arguments, **options)

    monkeypatch.setattr(table, "remove", remove_late)
    assert its_relay.publish(table.oldest(database.alias, 1)) == BATCH
    its_relay._lease.release()
