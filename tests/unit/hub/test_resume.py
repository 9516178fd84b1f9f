"""One cursor per topic: each topic continues after its own, and no event comes twice."""

import asyncio

from notifications.hub.hub import Hub
from notifications.hub.resume import resolve_start, resolve_topic_starts
from notifications.hub.subscribers import Start
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, Position, make_position
from notifications.log.entries import ResetReason, Retention
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

HEAD = Cursor(EPOCH, make_position(9))
WINDOW = Window(Retention(100, 10**9, 10**6))
WINDOW.restart(make_position(2))
WINDOW.append(batch(2, *(entry(ms, "a") for ms in (3, 5, 7, 9))))


def cursor(ms: int) -> Cursor:
    return Cursor(EPOCH, make_position(ms))


def test_topics_with_the_same_cursor_have_one_position() -> None:
    assert resolve_topic_starts({"a": cursor(5), "b": cursor(5)}, HEAD, WINDOW) == (
        make_position(5),
        {},
        [],
    )


def test_a_topic_that_was_further_starts_after_its_own_cursor() -> None:
    starts = resolve_topic_starts({"a": cursor(5), "b": cursor(7)}, HEAD, WINDOW)
    assert starts == (make_position(5), {"b": Position(make_position(7) + 1)}, [])


def test_a_topic_whose_next_events_are_not_known_starts_at_the_head_and_is_lost() -> None:
    foreign = Cursor("ba9876543210", make_position(5))
    starts = resolve_topic_starts(
        {"a": cursor(5), "b": None, "c": foreign, "d": cursor(1)}, HEAD, WINDOW
    )
    later = Position(make_position(9) + 1)
    assert starts == (make_position(5), dict.fromkeys("bcd", later), ["b", "c", "d"])


def test_a_cursor_of_no_entry_is_lost_with_and_without_one_for_each_topic() -> None:
    reset = make_position(9), ResetReason.UNKNOWN
    assert resolve_start(Start(cursor=cursor(6)), ["a"], WINDOW, EPOCH) == reset
    assert resolve_start(Start(cursor=cursor(7)), ["a"], WINDOW, EPOCH) == (make_position(7), None)
    assert resolve_topic_starts({"a": cursor(7), "b": cursor(6)}, HEAD, WINDOW)[2] == ["b"]


def test_a_cursor_ahead_of_the_process_is_accepted_only_for_all_topics() -> None:
    assert resolve_topic_starts({"a": cursor(12), "b": cursor(12)}, HEAD, WINDOW) == (
        make_position(12),
        {},
        [],
    )
    position, later, lost = resolve_topic_starts({"a": cursor(12), "b": cursor(5)}, HEAD, WINDOW)
    assert (position, lost) == (make_position(5), ["a"])
    assert later == {"a": Position(make_position(9) + 1)}


def hub_with(*topics: str) -> Hub:
    """An event of each of these topics, at 1 ms and on."""
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, *(entry(ms, topic) for ms, topic in enumerate(topics, 1))))
    return Hub(EPOCH, window)


async def test_each_topic_is_replayed_from_its_own_cursor_and_then_all_are_live() -> None:
    hub = hub_with("a", "b", "a", "b")
    transport = FakeTransport()
    start = Start(cursors={"a": cursor(1), "b": cursor(3)})
    hub.subscribe(frozenset("ab"), transport, start)
    assert transport.received == ["stream.cursor", "3", "4"]
    await hub.deliver(batch(4, entry(5, "a"), entry(6, "b")))
    assert transport.received == ["stream.cursor", "3", "4", "5", "6"]


async def test_a_slow_subscriber_misses_nothing_of_a_topic_that_started_later() -> None:
    hub = hub_with("a", "b", "a")
    transport = FakeTransport(held=True)
    hub.subscribe(frozenset("ab"), transport, Start(cursors={"a": cursor(1), "b": cursor(3)}))
    await hub.deliver(batch(3, entry(4, "b"), entry(5, "a")))
    transport.drain()
    for _ in range(10):
        await asyncio.sleep(0)
    assert transport.received == ["stream.cursor", "3", "4", "5"]


async def test_a_lost_topic_is_a_reset_and_the_other_topic_goes_on_after_it() -> None:
    hub = hub_with("a", "b", "a")
    transport = FakeTransport()
    hub.subscribe(frozenset("ab"), transport, Start(cursors={"a": cursor(1), "b": None}))
    assert transport.received == ["stream.reset", "3"]


async def test_a_cursor_brings_no_history_that_the_grant_excludes() -> None:
    hub, transport = hub_with("b", "a", "b", "b"), FakeTransport()
    start = Start(cursors={"a": cursor(0), "b": cursor(1)})
    hub.subscribe(frozenset("ab"), transport, start, since={"b": 4})
    await asyncio.sleep(0)
    assert [event.data for event in transport.events if event.type == "message"] == ["2", "4"]
