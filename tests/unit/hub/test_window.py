"""The window, compared with the simplest model of it: a list."""

import tracemalloc
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from notifications.hub.window import Window
from notifications.log.cursors import START, Position, make_position, position_before, position_ms
from notifications.log.entries import Batch, Retention
from notifications.log.reader import Raw, Reader
from notifications.log.records import Entry, Record, record_size
from tests.harness.raw_log import header

PLENTY = Retention(events=10_000, bytes=10**9, age=10**6)


def entry(ms: int, *topics: str, size: int = 10) -> Entry:
    return Entry(make_position(ms), topics or ("t",), b"", None, b"x" * size, True, None)


def batch(prev: int, *entries: Entry, last: int | None = None) -> Batch:
    end = entries[-1].position if last is None else make_position(last)
    return Batch(make_position(prev), end, [each.record for each in entries])


def window_of(*entries: Entry, retention: Retention = PLENTY, prev: int = 0) -> Window:
    window = Window(retention)
    window.restart(make_position(prev))
    if entries:
        window.append(batch(prev, *entries))
    return window


def times(entries: Iterable[Entry]) -> list[int]:
    return [position_ms(entry.position) for entry in entries]


def test_it_holds_what_follows_its_floor_up_to_its_head() -> None:
    window = window_of(entry(5), entry(7), prev=3)
    assert (window.floor, window.head, len(window)) == (make_position(3), make_position(7), 2)


def test_events_of_several_topics_come_once_and_in_order() -> None:
    window = window_of(entry(1, "a"), entry(2, "a", "b"), entry(3, "c"), entry(4, "b"))
    assert times(window.following(["a", "b"], START)) == [1, 2, 4]
    assert times(window.following(["b"], make_position(2))) == [4]
    assert times(window.following(["nothing"], START)) == []


def test_a_batch_of_no_events_moves_the_head() -> None:
    window = window_of(entry(1))
    window.append(batch(1, last=9))
    assert window.head == make_position(9)


def test_it_knows_which_positions_were_given_to_entries() -> None:
    window = window_of(entry(5), entry(9), prev=3)
    window.append(batch(9, last=12))  # control entries, say
    window.append(
        Batch(
            make_position(12),
            make_position(40),
            [entry(40).record],
            (),
            [range_of(13, 20), range_of(30)],
        )
    )
    held = [ms for ms in range(50) if window.holds(make_position(ms))]
    assert held == [0, 1, 2, 3, 5, 9, 12, *range(13, 21), 30, *range(40, 50)]
    # Of a time, as pages have it: no entry has such a position.
    assert window.holds(position_before(window.head, 25_000, 1))
    assert position_before(window.head, 25_000, 1) < make_position(24_000)


def test_what_falls_off_the_window_is_not_asked_for() -> None:
    window = window_of(retention=Retention(events=2, bytes=10**9, age=10**6))
    for ms in range(1, 100, 2):
        window.append(batch(ms - 1, entry(ms)))
        window.append(Batch(make_position(ms), make_position(ms + 1), [], (), [range_of(ms + 1)]))
    assert window.holds(make_position(96))
    assert not window.holds(Position(make_position(96) + 1))
    assert len(window._others) <= 4


def range_of(first: int, last: int | None = None) -> tuple[Position, Position]:
    return make_position(first), make_position(first if last is None else last)


def test_a_batch_that_does_not_follow_the_head_restarts_the_window() -> None:
    window = window_of(entry(1), entry(2))
    window.append(batch(5, entry(6)))
    assert (window.floor, len(window)) == (make_position(5), 1)
    assert times(window.following(["t"], START)) == [6]


def test_the_oldest_events_are_removed_by_number() -> None:
    window = window_of(*map(entry, range(1, 6)), retention=Retention(2, 10**9, 10**6))
    assert times(window.following(["t"], START)) == [4, 5]
    assert window.floor == make_position(3)


def test_the_oldest_events_are_removed_by_size() -> None:
    window = window_of(*map(entry, range(1, 6)), retention=Retention(100, 25 + 2 * 12, 10**6))
    assert times(window.following(["t"], START)) == [4, 5]


def test_the_oldest_events_are_removed_by_age_even_if_no_new_one_comes() -> None:
    window = window_of(entry(1_000), entry(2_000), retention=Retention(100, 10**9, 10))
    window.trim(now_ms=11_500)
    assert times(window.following(["t"], START)) == [2_000]
    window.trim(now_ms=60_000)
    assert len(window) == 0
    assert window.floor == window.head


NAMES = st.sets(st.sampled_from("abc"), min_size=1)


@given(
    events=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 40), NAMES), max_size=60),
    retention=st.builds(Retention, st.integers(0, 50), st.integers(0, 2_000), st.integers(0, 20)),
    most=st.integers(1, 7),
)
@settings(deadline=None, max_examples=200)
def test_a_step_removes_as_many_as_one_event_after_the_other_would_be_removed(
    events: list[tuple[int, int, set[str]]], retention: Retention, most: int
) -> None:
    clock, left = 0, list[Record]()
    for ms, size, names in events:
        clock += ms + 1
        left.append((make_position(clock), tuple(sorted(names)), b"x" * size))
    window = Window(PLENTY)
    window.append(Batch(window.head, make_position(clock), left.copy()))
    window._retention = retention
    oldest = make_position(max(0, clock - 1_000 * retention.age))

    def has_more() -> bool:
        is_too_large = sum(map(record_size, left)) > retention.bytes
        is_too_much = is_too_large or len(left) > retention.events
        return bool(left) and (is_too_much or left[0][0] < oldest)

    more = True
    while more:
        for _ in range(most):
            if has_more():
                left.pop(0)
        more = window.trim(now_ms=clock, most=most)
        assert more == has_more()
        assert (len(window), window.size) == (len(left), sum(map(record_size, left)))
        assert set(window.topics) == {topic for record in left for topic in record[1]}


def test_a_topic_without_retained_events_costs_nothing() -> None:
    window = window_of(
        *(entry(i, f"once.{i}") for i in range(1, 2_000)), retention=Retention(10, 10**9, 10**6)
    )
    assert len(window._topics) == 10


def test_a_time_is_the_position_before_the_first_event_of_that_time() -> None:
    window = window_of(entry(10), entry(20), prev=5)
    assert window.position_before(0) == make_position(5)
    assert window.position_before(10) == make_position(5)
    assert window.position_before(11) == make_position(10)
    assert window.position_before(99) == make_position(20)


def test_the_last_events_of_some_topics_are_counted_each_once() -> None:
    window = window_of(entry(1, "a"), entry(2, "b"), entry(3, "a", "b"), entry(4, "c"), prev=0)
    assert window.position_before_last(1, ["a", "b"]) == make_position(2)
    assert window.position_before_last(2, ["a", "b"]) == make_position(1)
    assert window.position_before_last(3, ["a", "b"]) == make_position(0)
    assert window.position_before_last(99, ["b"]) == make_position(1)
    assert window.position_before_last(99, ["nothing"]) == make_position(4)


def raw(number: int) -> Raw:
    """An event with 200 bytes of data as Redis returns it, with a user's topic and a common one."""
    topics = f"user.{number % 200}", "news"
    id = b"urn:uuid:0d6dde49-9fe4-4ab0-8d2d-%012d" % number
    event = Entry(make_position(number), topics, id, b"paid", b"%0200d" % number, True, None)
    prev = f"{number - 1}-0"
    link = header(prev, "event", *topics, last_event=prev).encode()
    return b"%d-0" % number, [link, event.record[2]]


def test_an_event_costs_at_most_300_bytes_more_than_its_data() -> None:
    count, reader, window = 20_000, Reader(), Window(Retention(10**6, 10**9, 10**6))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for first in range(1, count, 1_000):
        for each in reader.batch([raw(number) for number in range(first, first + 1_000)]):
            window.append(each)
    del each
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(window) == count
    assert (after - before) / count < 200 + 300


class WindowMachine(RuleBasedStateMachine):
    """A reader at any position gets what a list would give, whatever comes and goes."""

    LIMIT = 40

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(Retention(self.LIMIT, 10**9, 10**6))
        self.model: list[Entry] = []
        self.clock = 0

    @rule(topics=st.lists(st.sets(st.sampled_from("abcd"), min_size=1), max_size=60))
    def append(self, topics: list[set[str]]) -> None:
        prev = self.window.head
        entries = []
        for names in topics:
            self.clock += 1
            entries.append(entry(self.clock, *sorted(names)))
        last = entries[-1].position if entries else prev
        self.window.append(Batch(prev, last, [each.record for each in entries]))
        self.model = (self.model + entries)[-self.LIMIT :]

    @rule()
    def hole(self) -> None:
        self.clock += 10
        self.window.append(Batch(make_position(self.clock), make_position(self.clock), []))
        self.model = []

    @rule(topics=st.sets(st.sampled_from("abcde"), min_size=1), back=st.integers(0, 60))
    def read(self, topics: set[str], back: int) -> None:
        position = Position(max(self.window.floor, make_position(max(0, self.clock - back))))
        wanted = [e for e in self.model if e.position > position and topics.intersection(e.topics)]
        assert list(self.window.following(topics, position)) == wanted

    @rule(topics=st.sets(st.sampled_from("abcde"), min_size=1), count=st.integers(1, 60))
    def read_last(self, topics: set[str], count: int) -> None:
        position = self.window.position_before_last(count, topics)
        wanted = [each for each in self.model if topics.intersection(each.topics)][-count:]
        assert list(self.window.following(topics, position)) == wanted

    @invariant()
    def its_counts_are_right(self) -> None:
        assert len(self.window) == len(self.model)
        assert self.window.size == sum(record_size(e.record) for e in self.model)


TestWindowMachine = WindowMachine.TestCase
TestWindowMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(1, 400), min_size=150, max_size=400))
@settings(deadline=None, max_examples=30)
def test_long_indexes_are_compacted_without_losing_anything(steps: list[int]) -> None:
    window = Window(Retention(100, 10**9, 10**6))
    clock, expected = 0, list[int]()
    for step in steps:
        clock += step
        expected.append(clock)
        window.append(
            Batch(window.head, make_position(clock), [entry(clock, "hot", f"{clock % 7}").record])
        )
        assert times(window.following(["hot"], window.floor)) == expected[-100:]
    assert len(window._topics["hot"]) <= 200
