"""The relay prepares a group of events while the log takes the one before it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import OperationalError

from notifications.conf import get_settings
from notifications.errors import Conflict, Unavailable
from notifications.log.entries import Draft, Receipt
from notifications.log.redis_sync import RedisSyncLog
from notifications.publishing import outbox
from notifications.publishing.outbox import completion, table
from notifications.publishing.outbox.appending import FEW_EVENTS
from notifications.publishing.outbox.batch_size import BATCHES_OF_GROUP
from notifications.publishing.outbox.lease import NEVER
from notifications.publishing.outbox.relay import Relay
from notifications.publishing.outbox.rows import WaitingEvent
from notifications.telemetry.counters import process_counters
from tests.harness.databases import Database
from tests.unit.publishing.outbox.reading import DEADLINE_SECONDS, Published

TYPE = "test.appending"
BATCH = FEW_EVENTS // 2
GROUP = BATCH * BATCHES_OF_GROUP
TOTAL = 6 * GROUP

type Numbers = Sequence[int]


@dataclass
class Steps:
    """What a relay of small batches does, by numbers of events, and what happens meanwhile."""

    database: Database
    relay: Relay
    prepared: list[Numbers] = field(default_factory=list)
    appended: list[Numbers] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    """That have appended."""
    preparing: Callable[[Numbers], object] = lambda _: None
    appending: Callable[[Numbers], object] = lambda _: None

    def complete(self, _: str, written: list[int]) -> list[int]:
        self.prepared.append(written)
        self.preparing(written)
        return written

    def append(self, log: RedisSyncLog, drafts: list[Draft]) -> list[Receipt]:
        numbers = [int(str(draft.event.data)) for draft in drafts]
        self.appending(numbers)
        receipts = _append(log, drafts)
        self.appended.append(numbers)
        self.threads.append(threading.current_thread())
        return receipts

    def publish(self) -> int:
        return self.relay.publish(table.oldest(self.database.alias, 1))

    def waiting(self) -> Numbers:
        return [
            event.number for row in table.oldest(self.database.alias, 10) for event in row.events()
        ]


_append = RedisSyncLog.append


@pytest.fixture
def steps(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Steps]:
    """Beside a row that fills some groups."""
    relay = Relay(database.alias, get_settings())
    relay.batch_size.events = BATCH
    steps = Steps(database, relay)
    monkeypatch.setitem(completion._completions, TYPE, steps.complete)
    monkeypatch.setattr(RedisSyncLog, "append", lambda log, drafts: steps.append(log, drafts))
    given = [(f"topic-{number}", number) for number in range(TOTAL)]
    outbox.write_per_topic(given, type=TYPE, using=database.alias)
    yield steps
    assert not [each for each in threading.enumerate() if each.name == "carillon-append"]


def test_a_group_is_prepared_while_the_log_takes_the_one_before_it(
    steps: Steps, published: Published
) -> None:
    second_is_prepared = threading.Event()

    def prepare(_: Numbers) -> None:
        if len(steps.prepared) == 2:
            second_is_prepared.set()

    steps.preparing = prepare
    steps.appending = lambda _: _is_given(second_is_prepared)
    assert steps.publish() == TOTAL
    assert published.data() == [str(number) for number in range(TOTAL)]
    assert [len(numbers) for numbers in steps.appended][:3] == [BATCH, BATCH, 2 * BATCH]
    assert threading.current_thread() not in steps.threads
    assert steps.database.waiting == 0


def _is_given(signal: threading.Event) -> None:
    assert signal.wait(DEADLINE_SECONDS)


def test_a_few_events_are_appended_without_a_thread(steps: Steps) -> None:
    steps.relay.batch_size.events = FEW_EVENTS // BATCHES_OF_GROUP - 1
    steps.relay.batch_size.published = lambda count: None  # type: ignore[method-assign]
    assert steps.publish() == TOTAL
    assert set(steps.threads) == {threading.current_thread()}


def test_what_follows_a_batch_that_the_log_did_not_take_waits(
    steps: Steps, published: Published
) -> None:
    steps.appending = _raising(Unavailable("The log is away.", outcome="not_sent"), at=GROUP + 1)
    with pytest.raises(Unavailable):
        steps.publish()
    assert len(steps.prepared) == 3  # of which the last is not appended
    done = sum(map(len, steps.appended))
    assert GROUP <= done <= GROUP + 1
    assert steps.waiting() == list(range(done, TOTAL))
    _publish_the_rest(steps, published, TOTAL - done)


def _raising(error: Exception, *, at: int) -> Callable[[Numbers], None]:
    """Raises it for the batch that has this number."""

    def append(numbers: Numbers) -> None:
        if at in numbers:
            raise error

    return append


def _publish_the_rest(steps: Steps, published: Published, count: int) -> None:
    steps.preparing = steps.appending = lambda _: None
    assert outbox.publish_waiting(steps.database.alias, get_settings()) == count
    assert published.data() == [str(number) for number in range(TOTAL)]
    assert steps.database.waiting == 0


def test_an_event_that_the_log_refuses_is_set_aside_and_those_behind_it_follow(
    steps: Steps, published: Published
) -> None:
    refused = GROUP + 1

    def append(numbers: Numbers) -> None:
        if refused in numbers:
            raise Conflict.at(numbers.index(refused))

    steps.appending = append
    done = steps.publish()
    assert done <= refused
    assert refused not in steps.waiting()
    assert outbox.publish_waiting(steps.database.alias, get_settings()) == TOTAL - done - 1
    others = [str(number) for number in range(TOTAL) if number != refused]
    assert published.data() == others


@pytest.mark.parametrize("error", [OperationalError("The database is away."), ValueError("Ours.")])
def test_a_failure_while_a_group_is_prepared_ends_the_one_that_is_appended(
    steps: Steps, published: Published, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()
    before = process_counters.published

    def complete(using: str, events: Any) -> Any:
        if steps.prepared:
            failed.set()
            raise error
        return _completed(using, events)

    with monkeypatch.context() as patch:
        patch.setattr(completion, "completed", complete)
        steps.appending = lambda _: _is_given(failed)
        with pytest.raises(type(error)):
            steps.publish()
    assert sum(map(len, steps.appended)) == GROUP
    assert steps.waiting() == list(range(GROUP, TOTAL))
    _publish_the_rest(steps, published, TOTAL - GROUP)
    assert process_counters.published == before + TOTAL


_completed = completion.completed


def test_an_error_of_ours_while_appending_is_raised_and_loses_nothing(
    steps: Steps, published: Published
) -> None:
    steps.appending = _raising(ValueError("Ours."), at=GROUP)
    with pytest.raises(ValueError, match="Ours"):
        steps.publish()
    _publish_the_rest(steps, published, TOTAL - GROUP)


def test_no_group_overtakes_one_whose_first_event_cannot_be_made(
    steps: Steps, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = WaitingEvent.draft

    def fail_at_first(event: WaitingEvent, data: Any) -> Draft:
        if event.number == 0:
            raise KeyError("Ours.")
        return draft(event, data)

    with monkeypatch.context() as patch:
        patch.setattr(WaitingEvent, "draft", fail_at_first)
        with pytest.raises(KeyError):
            steps.publish()
    assert steps.appended == []
    _publish_the_rest(steps, published, TOTAL)


def test_a_relay_that_is_stopped_ends_after_the_group_that_is_appended(
    steps: Steps, published: Published
) -> None:
    steps.appending = lambda _: steps.relay.stop()
    assert steps.publish() == GROUP
    assert steps.waiting() == list(range(GROUP, TOTAL))
    _publish_the_rest(steps, published, TOTAL - GROUP)


@pytest.mark.parametrize("at", [0, GROUP - 1, GROUP])
def test_a_relay_that_has_lost_its_lease_appends_no_further_batch(steps: Steps, at: int) -> None:
    assert steps.relay._acquire_lease()

    def lose(numbers: Numbers) -> None:
        if at in numbers:
            steps.relay._lease._renewed_at = NEVER

    steps.appending = lose
    with _another_has_the_lease(steps.relay):
        done = steps.publish()
    assert steps.appended[-1][-1] == done - 1
    assert at in steps.appended[-1]
    assert steps.waiting() == list(range(done, TOTAL))


@contextmanager
def _another_has_the_lease(relay: Relay) -> Iterator[None]:
    relay._lease.release()
    another = Relay(relay.using, get_settings())
    relay._lease._renewed_at = relay._lease._clock()  # it does not know yet
    assert another._acquire_lease()
    try:
        yield
    finally:
        another._lease.release()


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
    relay.batch_size.rows = 2
    for number in range(20):
        late = [(f"topic-{number}", "late")] * 3
        outbox.write_per_topic(late, type=TYPE, using=database.alias)
    outbox.write_per_topic([("topic", "free")], type=TYPE, using=database.alias)
    steps = 0
    while not relay.publish(table.oldest(database.alias, relay.batch_size.rows)):
        steps += 1
        assert relay.postponed
        assert steps < 5
    assert published.data() == ["free"]
