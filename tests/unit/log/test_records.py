"""Records: an event comes out of the log as it went in, and no text of it reaches another part."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import Invalid
from notifications.events import Event, Swap
from notifications.log.cursors import make_position
from notifications.log.entries import Draft, Retention
from notifications.log.memory import MemoryStore
from notifications.log.records import Entry, record_size

TEXT = st.text(st.sampled_from("a1 -\n\r\t\0\x1eü"), max_size=3)


@st.composite
def events(draw: st.DrawFn) -> Event | None:
    """None for texts that no event can have."""
    with suppress(Invalid):
        return Event(
            topics="t",
            data=draw(TEXT),
            type=draw(st.none() | TEXT),
            id=draw(TEXT),
            retry=draw(st.none() | st.integers(500, 9_000)),
            swap=draw(st.none() | st.just(Swap("list"))),
        )
    return None


@given(events())
def test_whatever_text_an_event_has_each_part_stays_where_it_is(event: Event | None) -> None:
    if event is None:
        return
    store = MemoryStore(Retention(10, 10**6, 3600))
    store.append([Draft(event, skip=("user:1", "user:2"))])
    entry = Entry.of(*store.records)
    assert (entry.topics, entry.data, entry.is_text) == (("t",), event.encoded, True)
    assert (entry.id.decode(), entry.retry, entry.trace) == (event.id, event.retry, b"")
    assert entry.type == (event.type.encode() if event.type else None)
    assert entry.swap == (b"inner #list" if event.swap else b"")
    assert entry.skip == frozenset({"user:1", "user:2"})


def test_a_record_is_counted_with_its_topics() -> None:
    entry = Entry(make_position(1), ("a", "bc"), b"1", None, b"x" * 100, True, None)
    position, topics, content = entry.record
    assert (position, topics) == (entry.position, entry.topics)
    assert record_size(entry.record) == len(content) + 3 > 100 + len("1") + 3
