"""A cursor for each topic: each goes on where it was, and none is told anything twice."""

import asyncio

from notifications.hub.hub import Hub
from notifications.hub.resume import by_topic
from notifications.hub.subscribers import Start
from notifications.hub.window import Window
from notifications.log.base import Retention
from notifications.log.cursors import Cursor, Position, position
from tests.harness.fakes import EPOCH, FakeTransport, batch, entry

HEAD = Cursor(EPOCH, position(9))
FLOOR = position(2)


def here(ms: int) -> Cursor:
    return Cursor(EPOCH, position(ms))


def test_topics_that_agree_have_one_place() -> None:
    assert by_topic({"a": here(5), "b": here(5)}, HEAD, FLOOR) == (position(5), {}, [])


def test_a_topic_that_was_further_begins_after_its_own_cursor() -> None:
    begun = by_topic({"a": here(5), "b": here(7)}, HEAD, FLOOR)
    assert begun == (position(5), {"b": Position(position(7) + 1)}, [])


def test_a_topic_whose_future_is_not_known_begins_at_the_head_and_is_lost() -> None:
    foreign = Cursor("ba9876543210", position(5))
    begun = by_topic({"a": here(5), "b": None, "c": foreign, "d": here(1)}, HEAD, FLOOR)
    later = Position(position(9) + 1)
    assert begun == (position(5), dict.fromkeys("bcd", later), ["b", "c", "d"])


def test_a_cursor_ahead_is_taken_at_its_word_only_for_all_topics() -> None:
    assert by_topic({"a": here(12), "b": here(12)}, HEAD, FLOOR) == (position(12), {}, [])
    place, later, lost = by_topic({"a": here(12), "b": here(5)}, HEAD, FLOOR)
    assert (place, lost) == (position(5), ["a"])
    assert later == {"a": Position(position(9) + 1)}


def hub_with(*topics: str) -> Hub:
    """An event of each of these topics, at 1 ms and on."""
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, *(entry(ms, topic) for ms, topic in enumerate(topics, 1))))
    return Hub(EPOCH, window)


async def test_each_topic_is_replayed_from_its_own_cursor_and_then_all_are_live() -> None:
    hub = hub_with("a", "b", "a", "b")
    transport = FakeTransport()
    start = Start(cursors={"a": here(1), "b": here(3)})
    hub.subscribe(frozenset("ab"), transport, start)
    assert transport.said == ["stream.cursor", "3", "4"]
    await hub.deliver(batch(4, entry(5, "a"), entry(6, "b")))
    assert transport.said == ["stream.cursor", "3", "4", "5", "6"]


async def test_one_that_lags_after_its_replay_misses_nothing_of_a_topic_that_began_late() -> None:
    hub = hub_with("a", "b", "a")
    transport = FakeTransport(held=True)
    hub.subscribe(frozenset("ab"), transport, Start(cursors={"a": here(1), "b": here(3)}))
    await hub.deliver(batch(3, entry(4, "b"), entry(5, "a")))
    transport.drain()
    for _ in range(10):
        await asyncio.sleep(0)
    assert transport.said == ["stream.cursor", "3", "4", "5"]


async def test_a_lost_topic_is_a_reset_and_the_other_goes_on_behind_it() -> None:
    hub = hub_with("a", "b", "a")
    transport = FakeTransport()
    hub.subscribe(frozenset("ab"), transport, Start(cursors={"a": here(1), "b": None}))
    assert transport.said == ["stream.reset", "3"]
