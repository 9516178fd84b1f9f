"""A row with an event for each of its topics: each of these events is as safe as one in its own."""

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.conf import get_settings
from notifications.errors import Unavailable
from notifications.log.entries import Draft, Receipt
from notifications.log.redis_sync import RedisSyncLog
from notifications.models import OutboxEvent
from notifications.publishing import outbox
from notifications.publishing.outbox import completion, publish_waiting, table
from notifications.publishing.outbox.batch_size import BatchSize
from notifications.publishing.outbox.completion import POSTPONED
from notifications.publishing.outbox.relay import RELEASED_KEY_SECONDS, Relay
from tests.harness.databases import Database
from tests.harness.servers import RedisServer
from tests.unit.publishing.outbox.reading import Published, relaying, wait_until, write

pytestmark = pytest.mark.usefixtures("published")
TYPE = "test.per_topic"


def write_numbers(database: Database, count: int) -> None:
    given = [(f"topic-{number}", {"number": number}) for number in range(count)]
    outbox.write_per_topic(given, type=TYPE, using=database.alias)


def numbers(count: int) -> list[str]:
    return [f'{{"number":{number}}}' for number in range(count)]


def publish(database: Database) -> int:
    return publish_waiting(database.alias, get_settings())


def test_each_topic_has_its_event_between_those_of_other_rows(
    database: Database, published: Published
) -> None:
    write(database.alias, "t", "before")
    write_numbers(database, 3)
    write(database.alias, "t", "after")
    assert database.waiting == 3
    with relaying(database.alias):
        assert published.until(5) == ["before", *numbers(3), "after"]
        wait_until(lambda: not database.waiting)
    events = published.entries()[1:-1]
    assert [event.topics for event in events] == [("topic-0",), ("topic-1",), ("topic-2",)]
    assert {event.type for event in events} == {TYPE.encode()}
    assert len({event.id for event in events}) == 3


def test_a_row_of_more_events_than_a_batch_is_published_in_order_in_several(
    database: Database, published: Published
) -> None:
    write_numbers(database, 1_234)
    write(database.alias, "topic-3", "after")
    write_numbers(database, 2)
    assert publish(database) == 1_237
    assert published.data() == [*numbers(1_234), "after", *numbers(2)]
    assert database.waiting == 0


def take_only(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the log take the events before this number, and no batch with a later one.

    Batches do not grow: the thread that appends decides when, and so where the next one begins.
    """
    append = RedisSyncLog.append

    def take(self: RedisSyncLog, drafts: list[Draft]) -> list[Receipt]:
        if int(drafts[-1].event.topics[0].removeprefix("topic-")) >= count:
            raise Unavailable("The log is away.", outcome="not_sent")
        return append(self, drafts)

    monkeypatch.setattr(RedisSyncLog, "append", take)
    monkeypatch.setattr(BatchSize, "published", lambda *_: None)


@pytest.mark.parametrize("moment", ["remove", "_replace_data"])
def test_a_relay_that_ends_before_it_shortens_a_row_repeats_nothing(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_numbers(database, 150)
    relay = Relay(database.alias, get_settings())
    relay.batch_size.events = 100
    with monkeypatch.context() as patch:
        patch.setattr(table, moment, end)
        take_only(100, patch)
        with pytest.raises(KeyboardInterrupt):
            relay.publish(table.oldest(database.alias, 10))
    assert len(published.data()) == 100
    assert publish(database) == 150
    assert published.data() == numbers(150)


def test_a_relay_that_reads_a_row_before_another_shortens_it_brings_nothing_back(
    database: Database,
    published: Published,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_numbers(database, 900)
    slow, fast = Relay(database.alias, get_settings()), Relay(database.alias, get_settings())
    slow.batch_size.events = fast.batch_size.events = 100
    batch = table.oldest(database.alias, 10)
    with monkeypatch.context() as patch:
        take_only(400, patch)
        with pytest.raises(Unavailable):
            fast.publish(table.oldest(database.alias, 10))
        assert len(published.data()) == 400
    with monkeypatch.context() as patch:
        take_only(800, patch)
        with pytest.raises(Unavailable):
            slow.publish(batch)  # the four hundred that the other has published, and more
        assert len(published.data()) == 800
    [row] = table.oldest(database.alias, 10)
    waiting = [event.number for event in row.events()]
    assert waiting == list(range(400, 900))
    with redis.client() as client:  # so they must stay known
        age = client.ttl(f"{{carillon}}:once:{row.idempotency_key}")
    assert age > RELEASED_KEY_SECONDS
    assert publish(database) == 500
    assert published.data() == numbers(900)


def test_postponed_events_stay_in_the_row_and_keep_their_keys(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {1, 3}
    monkeypatch.setitem(
        completion._completions,
        TYPE,
        lambda _, written: [POSTPONED if each["number"] in late else each for each in written],
    )
    write_numbers(database, 4)
    keys = [event.key for event in table.oldest(database.alias, 1)[0].events()]
    relay = Relay(database.alias, get_settings())
    assert relay.publish(table.oldest(database.alias, 1)) == 2
    assert published.data() == [numbers(4)[0], numbers(4)[2]]
    assert relay.postponed == 2
    [row] = table.oldest(database.alias, 1)
    assert [event.key for event in row.events()] == [keys[1], keys[3]]
    late.clear()
    assert publish(database) == 2
    assert published.data("topic-1") == numbers(4)[1:2]
    assert database.waiting == 0


def test_a_key_stays_known_while_one_event_of_its_row_waits(
    database: Database,
    published: Published,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log may have that event already, without our knowing it."""
    late = {77}
    monkeypatch.setitem(
        completion._completions,
        TYPE,
        lambda _, written: [POSTPONED if each["number"] in late else each for each in written],
    )
    write_numbers(database, 100)
    relay = Relay(database.alias, get_settings())
    assert relay.publish(table.oldest(database.alias, 1)) == 99
    [row] = table.oldest(database.alias, 1)
    with redis.client() as client:
        key = f"{{carillon}}:once:{row.idempotency_key}"
        assert client.ttl(key) > RELEASED_KEY_SECONDS
        late.clear()
        assert relay.publish(table.oldest(database.alias, 1)) == 1
        assert 0 < client.ttl(key) <= RELEASED_KEY_SECONDS


def test_an_event_that_cannot_be_set_aside_in_a_row_that_has_changed_stays_in_it(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        completion._completions,
        TYPE,
        lambda _, written: [object() if each["number"] == 3 else each for each in written],
    )
    write_numbers(database, 100)
    slow, [fast] = table.oldest(database.alias, 1), table.oldest(database.alias, 1)
    table.remove(fast.events()[50:], using=database.alias)
    assert Relay(database.alias, get_settings()).publish(slow) == 99
    assert database.refused == 0
    publish(database)
    assert (database.waiting, database.refused) == (0, 1)


def test_a_completion_that_makes_too_few_data_stops_nothing(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(completion._completions, TYPE, lambda _, written: written[1:])
    write_numbers(database, 3)
    assert publish(database) == 3
    assert published.data() == numbers(3)


def test_an_event_that_redis_never_takes_is_set_aside_alone(
    database: Database, published: Published, settings: DjangoSettings, redis: RedisServer
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_TIMEOUT": 1.0}
    too_much = "x" * (1024 * 1024 + 1)
    given = [("a", "first"), ("b", too_much), ("c", "last")]
    outbox.write_per_topic(given, type=TYPE, using=database.alias)
    with redis.client() as client:
        client.config_set("proto-max-bulk-len", 1024 * 1024)
        try:
            with relaying(database.alias, longest_failure_pause_seconds=0.01):
                assert published.until(2) == ["first", "last"]
                wait_until(lambda: not database.waiting)
        finally:
            client.config_set("proto-max-bulk-len", 512 * 1024 * 1024)
    assert database.refused == 1
    assert outbox.retry_refused(database.alias) == 1
    assert publish(database) == 1
    assert published.data("b") == [too_much]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "broken",
    [{"data": b"5"}, {"data": b"[1]"}, {"data": b"[null,null]"}, {"data": b"["}],
    ids=str,
)
def test_a_row_that_cannot_be_read_is_set_aside(
    database: Database, published: Published, broken: dict[str, bytes]
) -> None:
    write_numbers(database, 2)
    OutboxEvent.objects.using(database.alias).update(**broken)
    write(database.alias, "t", "after")
    assert publish(database) == 1
    assert published.data() == ["after"]
    assert (database.waiting, database.refused) == (0, 1)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_topic_that_is_none_sets_its_event_aside(
    database: Database, published: Published
) -> None:
    write_numbers(database, 3)
    OutboxEvent.objects.using(database.alias).update(topics="topic-0\n\ntopic-2")
    assert publish(database) == 2
    assert published.data() == [numbers(3)[0], numbers(3)[2]]
    assert (database.waiting, database.refused) == (0, 1)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_without_a_relay_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="No relay reads"):
        outbox.write_per_topic([("t", 1)], type=TYPE, using="default")


def test_an_outage_of_redis_loses_and_repeats_nothing(
    database: Database, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log takes the events, and its answers are lost."""
    append, lost = RedisSyncLog.append, [2]

    def lose(self: RedisSyncLog, drafts: object) -> object:
        receipts = append(self, drafts)  # type: ignore[arg-type]
        if lost[0]:
            lost[0] -= 1
            raise Unavailable("No answer.", outcome="unknown")
        return receipts

    monkeypatch.setattr(RedisSyncLog, "append", lose)
    write_numbers(database, 150)
    with relaying(database.alias, longest_failure_pause_seconds=0.01):
        wait_until(lambda: not database.waiting)
    assert published.data() == numbers(150)
