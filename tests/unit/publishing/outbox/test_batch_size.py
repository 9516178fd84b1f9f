"""How many events the relay prepares and publishes at once."""

from collections.abc import Iterable, Iterator
from itertools import chain
from uuid import uuid4

import pytest

from notifications.events import Event
from notifications.log.entries import Draft
from notifications.publishing.outbox.batch_size import (
    BATCHES_OF_GROUP,
    BATCHES_OF_ROWS,
    FIRST_BATCH_EVENTS,
    GROUPS_AT_ONCE,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    BatchSize,
)
from notifications.publishing.outbox.rows import Row, WaitingEvent


def events_of_row(count: int) -> list[WaitingEvent]:
    row = Row(1, uuid4(), "", "", "", b"", is_text=False, retry=None, swap="", per_topic=True)
    return [WaitingEvent(row, number, ("t",), "", "", number) for number in range(count)]


def rows_of(*counts: int) -> Iterator[list[WaitingEvent]]:
    """Rows of so many events. The last of them must not be asked for."""
    for count in counts:
        yield events_of_row(count)
    pytest.fail("It asks for a row that it does not need yet.")


def sizes_of(groups: Iterable[list[WaitingEvent]]) -> list[int]:
    return [len(group) for group in groups]


def test_groups_have_whole_rows_as_far_as_these_fit() -> None:
    size = BatchSize()
    most = size.events * BATCHES_OF_GROUP
    rows = [events_of_row(count) for count in (most // 2, most // 2, 3, most, 4, 5)]
    assert sizes_of(size.groups(rows)) == [most, 3, most, 9]
    assert [event for group in size.groups(rows) for event in group] == [*chain(*rows)]
    assert sizes_of(size.groups([events_of_row(2 * most + 1)])) == [most, most, 1]
    assert sizes_of(size.groups([])) == []


def test_no_row_is_asked_for_before_the_group_of_the_one_before_it_is_over() -> None:
    size = BatchSize()
    most = size.events * BATCHES_OF_GROUP
    assert len(next(size.groups(rows_of(most // 2, most // 2 + 1)))) == most // 2
    assert len(next(size.groups(rows_of(most + 1)))) == most


def test_as_many_rows_are_read_as_fill_some_groups() -> None:
    size = BatchSize()
    most = size.events * BATCHES_OF_GROUP
    list(size.groups([events_of_row(1)] * 10))
    assert size.rows == size.events * BATCHES_OF_ROWS
    list(size.groups([events_of_row(most // 2)] * 4))
    assert size.rows == 2 * GROUPS_AT_ONCE
    list(size.groups([events_of_row(3 * most)] * 4))
    assert size.rows == GROUPS_AT_ONCE
    list(size.groups([events_of_row(1)] * (most + 1)))
    assert size.rows == size.events * BATCHES_OF_ROWS


def test_a_step_has_a_few_groups_however_many_events_were_read() -> None:
    size = BatchSize()
    most = size.events * BATCHES_OF_GROUP
    assert sizes_of(size.groups([events_of_row(100 * most)])) == [most] * GROUPS_AT_ONCE
    size.all_postponed()
    assert len(sizes_of(size.groups([events_of_row(100 * most)]))) == 2 * GROUPS_AT_ONCE


def test_no_more_bytes_are_prepared_than_the_batches_may_have() -> None:
    size = BatchSize()
    rows = [events_of_row(1) for _ in range(5)]
    for [event] in rows:
        event.row.data = bytes(MAX_BATCH_BYTES)
    assert sizes_of(size.groups(rows)) == [BATCHES_OF_GROUP, BATCHES_OF_GROUP, 1]


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
    size.published(size.events - 1)
    assert size.events == FIRST_BATCH_EVENTS
    for _ in range(3):
        size.published(size.events)
    assert size.events == MAX_BATCH_EVENTS
    size.failed(10)
    assert size.events == 5
    size.published(5)
    assert size.events == 10
