"""The hub: no gap, no repeat, and no block that names a place beyond what was handed over."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from notifications.hub import audiences as audiences_module
from notifications.hub import hub as hub_module
from notifications.hub.chunks import MAX_CHUNK
from notifications.hub.drain import close_all
from notifications.hub.encoders import ENVELOPED, PLAIN, Encoder
from notifications.hub.hub import Hub
from notifications.hub.scheduling import STRIDE, TimeSlice
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import Batch, ResetReason, Retention
from notifications.log.cursors import Cursor, Position, position
from tests.harness.fakes import EPOCH, FakeTransport, at, batch, entry

NOW = Start()
ALL = Start(since_ms=0)


def hub_with(*retained: int, events: int = 10_000) -> Hub:
    """A hub whose window holds events of topic `t` at these times."""
    window = Window(Retention(events, 10**9, 10**6))
    if retained:
        window.append(batch(0, *map(entry, retained)))
    return Hub(EPOCH, window)


def join(
    hub: Hub, *topics: str, start: Start = NOW, held: bool = False, encoder: Encoder = PLAIN
) -> tuple[Subscriber, FakeTransport]:
    transport = FakeTransport(held=held)
    subscriber = hub.subscribe(frozenset(topics or ("t",)), transport, start, encoder=encoder)
    return subscriber, transport


async def settle() -> None:
    """Let what was put off to the next rounds of the loop happen."""
    for _ in range(50):
        await asyncio.sleep(0)


async def drain(transport: FakeTransport) -> None:
    """The client has read all it was sent, and what it is owed comes in its turn."""
    transport.drain()
    await settle()


# Joining


async def test_a_fresh_stream_opens_at_the_head() -> None:
    _, transport = join(hub_with(1, 2))
    [opening] = transport.events
    assert (opening.type, opening.id, opening.data) == ("stream.cursor", at(2), "{}")
    assert opening.retry is not None


async def test_a_resumed_stream_opens_where_it_was_and_replays_what_came_since() -> None:
    _, transport = join(hub_with(1, 2, 3), start=Start(cursor=at(1)))
    assert [event.id for event in transport.events] == [at(1), at(2), at(3)]
    assert transport.said == ["stream.cursor", "2", "3"]


async def test_a_stream_that_missed_nothing_opens_where_it_was() -> None:
    _, transport = join(hub_with(1, 2), start=Start(cursor=at(2)))
    assert [event.id for event in transport.events] == [at(2)]


async def test_history_is_replayed_from_when_it_may_be_and_what_is_live_always() -> None:
    window = Window(Retention(100, 10**9, 10**6))
    both = [entry(ms, "t", "u") for ms in (1, 6)]
    window.append(batch(0, both[0], entry(2, "t"), entry(4, "u"), entry(5, "t"), both[1]))
    hub = Hub(EPOCH, window)
    transport = FakeTransport()
    hub.subscribe(frozenset({"t", "u"}), transport, ALL, since={"t": 5, "u": 3})
    assert transport.said == ["stream.cursor", "4", "5", "6"]
    other = FakeTransport()  # another topic that was asked for allows what this one does not
    hub.subscribe(frozenset({"t", "u"}), other, Start(cursor=at(0)), since={"t": 5})
    assert other.said == ["stream.cursor", "1", "4", "5", "6"]
    late = FakeTransport()
    hub.subscribe(frozenset({"t"}), late, ALL, since={"t": 100})
    assert late.said == ["stream.cursor"]
    await hub.deliver(batch(6, entry(7, "t")))
    assert late.said == ["stream.cursor", "7"]


async def test_all_of_the_history_can_be_asked_for() -> None:
    _, transport = join(hub_with(1, 2), start=ALL)
    assert transport.said == ["stream.cursor", "1", "2"]


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("nonsense", "unknown"),
        (str(Cursor("ba9876543210", position(2))), "log_lost"),
        (at(0), "trimmed"),
    ],
)
async def test_a_cursor_whose_future_is_not_known_is_a_reset(cursor: str, reason: str) -> None:
    hub = hub_with(1, 2, 3, events=1)
    _, transport = join(hub, start=Start(cursor=cursor))
    [event] = transport.events
    assert (event.type, event.id) == ("stream.reset", at(3))
    assert event.data == f'{{"reason":"{reason}"}}'
    await hub.deliver(batch(3, entry(4)))
    assert transport.said == ["stream.reset", "4"]


async def test_a_cursor_ahead_of_this_process_is_not_told_again_what_it_had() -> None:
    hub = hub_with(1)
    _, transport = join(hub, start=Start(cursor=at(3)))
    await hub.deliver(batch(1, entry(2), entry(3), entry(4)))
    await hub.deliver(batch(4, entry(5)))
    await settle()
    assert transport.said == ["stream.cursor", "4", "5"]


# Fan-out


async def test_everyone_gets_the_events_of_their_topics_once() -> None:
    hub = hub_with(1)
    _, both = join(hub, "a", "b")
    _, one = join(hub, "b")
    await hub.deliver(batch(1, entry(2, "a", "b"), entry(3, "c"), entry(4, "a")))
    assert both.said == ["stream.cursor", "2", "4"]
    assert one.said == ["stream.cursor", "2"]


async def test_a_batch_is_one_write_and_the_same_bytes_for_an_audience() -> None:
    hub = hub_with(1)
    transports = [join(hub, "a", "b")[1] for _ in range(3)]
    await hub.deliver(batch(1, entry(2, "a"), entry(3, "b")))
    assert {len(transport.chunks) for transport in transports} == {2}
    assert len({id(transport.chunks[1]) for transport in transports}) == 1


async def test_audiences_that_differ_elsewhere_share_the_bytes_of_a_common_topic() -> None:
    hub = hub_with(1)
    transports = [join(hub, f"user.{i}", "news")[1] for i in range(3)]
    await hub.deliver(batch(1, entry(2, "news")))
    assert len({id(transport.chunks[1]) for transport in transports}) == 1


async def test_envelopes_name_only_what_each_audience_asked_for() -> None:
    hub = hub_with(1)
    _, a = join(hub, "a", encoder=ENVELOPED)
    _, b = join(hub, "b", encoder=ENVELOPED)
    await hub.deliver(batch(1, entry(2, "a", "b")))
    assert '"topics":["a"]' in a.said[1]
    assert '"topics":["b"]' in b.said[1]


async def test_a_batch_larger_than_a_chunk_comes_in_several() -> None:
    hub = hub_with(1)
    _, transport = join(hub)
    data = b"x" * 1000
    await hub.deliver(batch(1, *(entry(i, data=data) for i in range(2, 202))))
    assert max(map(len, transport.chunks)) <= MAX_CHUNK
    assert len(transport.events) == 201


# Laggards


async def test_a_slow_wire_holds_one_chunk_and_catches_up_when_it_drains() -> None:
    hub = hub_with(1)
    _, transport = join(hub, held=True)
    for ms in range(2, 6):
        await hub.deliver(batch(ms - 1, entry(ms)))
    assert transport.said == ["stream.cursor"]
    await drain(transport)
    assert transport.said == ["stream.cursor", "2", "3", "4", "5"]
    await drain(transport)
    await hub.deliver(batch(5, entry(6)))
    assert transport.said[-1] == "6"


async def test_catching_up_takes_a_chunk_at_a_time() -> None:
    hub = hub_with(1)
    _, transport = join(hub, held=True)
    data = b"x" * 60_000
    for ms in range(2, 5):
        await hub.deliver(batch(ms - 1, entry(ms, data=data)))
    for expected in (1, 2, 3, 4):
        assert len(transport.events) == expected
        await drain(transport)


async def test_an_event_larger_than_a_chunk_goes_alone() -> None:
    hub = hub_with(1)
    _, transport = join(hub)
    await hub.deliver(batch(1, entry(2), entry(3, data=b"x" * 2 * MAX_CHUNK), entry(4)))
    assert [len(event.data) for event in transport.events[1:]] == [1, 2 * MAX_CHUNK, 1]


async def test_a_long_replay_lets_the_loop_go_on_between_chunks() -> None:
    hub = hub_with()
    data = b"x" * 1000
    await hub.deliver(batch(0, *(entry(i, data=data) for i in range(1, 301))))
    _, transport = join(hub, start=ALL)
    assert len(transport.chunks) == 1
    await settle()
    assert len(transport.events) == 301
    assert len(transport.chunks) > 3


async def test_one_that_falls_off_the_window_is_closed_and_told_why() -> None:
    hub = hub_with(1, events=3)
    subscriber, transport = join(hub, held=True)
    for ms in range(2, 10):
        await hub.deliver(batch(ms - 1, entry(ms)))
    await drain(transport)
    assert transport.ended
    assert transport.events[-1].data == '{"reason":"fell_behind"}'
    assert transport.events[-1].id == at(1), "it comes back with the cursor that it had"
    assert not subscriber.open


async def test_one_that_was_idle_for_longer_than_history_has_not_fallen_behind() -> None:
    hub = hub_with(1, events=3)
    _, transport = join(hub, "quiet")
    for ms in range(2, 10):
        await hub.deliver(batch(ms - 1, entry(ms, "loud")))
    transport.held = True
    await hub.deliver(batch(9, entry(10, "quiet")))
    await hub.deliver(batch(10, entry(11, "quiet")))
    await drain(transport)
    assert transport.said == ["stream.cursor", "10", "11"]


async def test_one_that_takes_too_long_is_cut_and_others_are_not() -> None:
    hub = hub_with(1)
    slow, slow_transport = join(hub, held=True)
    _, transport = join(hub)
    await hub.close_the_slow(deadline=10)
    assert slow.open
    await hub.close_the_slow(deadline=-1)
    assert slow_transport.aborted
    assert not slow.open
    await hub.deliver(batch(1, entry(2)))
    assert transport.said == ["stream.cursor", "2"]


async def test_a_wire_that_is_lost_is_freed() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub)
    transport.owner.lost()
    assert transport.aborted
    assert hub.subscribers == []
    hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    await hub.deliver(batch(1, entry(2)))
    assert transport.said == ["stream.cursor"]


# Keep-alives


async def test_a_keep_alive_names_the_place_of_one_that_is_caught_up() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub, "quiet")
    await hub.deliver(batch(1, entry(2, "loud")))
    hub.keep_alive(subscriber)
    assert [event.id for event in transport.events] == [at(1), at(2)]
    assert transport.said == ["stream.cursor", "stream.cursor"]


async def test_one_that_lags_is_not_told_of_a_place_it_has_not_reached() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub, held=True)
    await hub.deliver(batch(1, entry(2)))
    hub.keep_alive(subscriber)
    assert len(transport.chunks) == 1
    await drain(transport)
    assert transport.said == ["stream.cursor", "2"]


# Gaps


async def test_a_gap_is_a_reset_for_everyone_and_nothing_older_follows() -> None:
    hub = hub_with(1)
    _, transport = join(hub)
    _, slow = join(hub, held=True)
    await hub.deliver(batch(1, entry(2)))
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(7)))
    await hub.reload("ba9876543210", window, ResetReason.LOG_LOST)
    await drain(slow)
    await hub.deliver(batch(7, entry(8)))
    await drain(slow)
    assert transport.said == ["stream.cursor", "2", "stream.reset", "8"]
    assert slow.said == ["stream.cursor", "stream.reset", "8"]
    head = str(Cursor("ba9876543210", position(7)))
    assert [e.id for e in transport.events if e.type == "stream.reset"] == [head]


async def test_a_reset_is_told_before_any_later_place_is_named(
    every_time_slice: Callable[[Callable[[], None]], None],
) -> None:
    hub = hub_with(1)
    joined = [join(hub) for _ in range(4)]

    def keep_all_alive() -> None:
        for subscriber, _ in joined:
            hub.keep_alive(subscriber)

    every_time_slice(keep_all_alive)
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(7)))
    await hub.reload("ba9876543210", window, ResetReason.LOG_LOST)
    for _, transport in joined:
        assert transport.said[:2] == ["stream.cursor", "stream.reset"]


async def test_closing_all_says_why() -> None:
    hub = hub_with(1)
    _, transport = join(hub)
    _, slow = join(hub, held=True)
    await close_all(hub, CloseReason.STOPPING)
    assert transport.ended
    assert transport.events[-1].data == '{"reason":"stopping"}'
    assert slow.aborted
    assert hub.subscribers == []


# Whatever happens between two slices of a fan-out


@pytest.fixture
def every_time_slice(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Makes every slice end at once, and does something there."""

    def between(action: Callable[[], None]) -> None:
        class Short(TimeSlice):
            SLICE = -1.0

            async def take(self) -> None:
                action()
                await super().take()

        for module in (hub_module, audiences_module):
            monkeypatch.setattr(module, "TimeSlice", Short)
            monkeypatch.setattr(module, "STRIDE", 1)

    return between


class Crowd:
    """Subscribers who join, lag, drain, fail and leave at random moments, and a check of each."""

    TOPICS = "abcde"
    SIZE = 60

    def __init__(self, hub: Hub, random: Random) -> None:
        self.hub = hub
        self.random = random
        self.published: list[tuple[Position, tuple[str, ...]]] = []
        self.members: list[tuple[Subscriber, FakeTransport, frozenset[str], Position]] = []

    def act(self) -> None:
        """Something that can happen at any moment."""
        few = self.random.sample(self.members, min(3, len(self.members)))
        if len(self.members) < self.SIZE and self.random.random() < 0.3:
            self.join()
        for subscriber, transport, *_ in few:
            chance = self.random.random()
            if chance < 0.5:
                transport.drain()
            elif chance < 0.96:
                self.hub.keep_alive(subscriber)
            else:
                self.lose(subscriber, transport)

    def lose(self, subscriber: Subscriber, transport: FakeTransport) -> None:
        match self.random.randrange(4):
            case 0:
                transport.fails = subscriber.open  # whenever it is written to
            case 1:
                transport.owner.lost()
            case 2:
                self.hub.close(subscriber, CloseReason.DRAINING)
            case 3:
                self.hub.leave(subscriber, CloseReason.CLIENT_LEFT)

    def join(self) -> None:
        topics = frozenset(self.random.sample(self.TOPICS, self.random.randint(1, 3)))
        start = NOW
        if self.published and self.random.random() < 0.7:
            place, _ = self.random.choice(self.published)
            start = Start(cursor=str(Cursor(EPOCH, place)))
        subscriber, transport = join(
            self.hub, *topics, start=start, held=self.random.random() < 0.5
        )
        begun = Cursor.parse(transport.events[0].id).position
        self.members.append((subscriber, transport, topics, begun))

    def check(self) -> None:
        for subscriber, transport, topics, begun in self.members:
            wanted = [
                place for place, names in self.published if place > begun and topics & set(names)
            ]
            reached = begun
            got = []
            said = transport.events[1:]
            for event in said:
                if event.type == "stream.closing":
                    assert event is said[-1], "something follows the last words"
                    continue
                place = Cursor.parse(event.id).position
                if event.type == "stream.cursor":
                    missing = [p for p in wanted if p <= place and p not in got]
                    assert not missing, "a keep-alive names a place beyond what was handed over"
                else:
                    got.append(place)
                assert place >= reached, "a block goes back"
                reached = place
            assert got == (wanted if subscriber.open else wanted[: len(got)])


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_between_any_two_slices(
    seed: int, every_time_slice: Callable[[Callable[[], None]], None]
) -> None:
    random = Random(seed)
    hub = hub_with()
    crowd = Crowd(hub, random)
    every_time_slice(crowd.act)
    clock = 0
    for _ in range(20):
        prev, entries = clock, []
        for _ in range(random.randint(1, 6)):
            clock += 1
            names = tuple(random.sample(Crowd.TOPICS, random.randint(1, 2)))
            entries.append(entry(clock, *names, data=b"x" * random.choice([5, 30_000])))
            crowd.published.append((position(clock), names))
        await hub.deliver(Batch(position(prev), position(clock), entries))
        crowd.act()
        await settle()
    for _ in range(200):
        for _, transport, _, _ in crowd.members:
            transport.drain()
        await settle()
        if not any(subscriber.behind and subscriber.open for subscriber, *_ in crowd.members):
            break
    assert len(crowd.members) > 20
    assert len(hub.subscribers) > 10
    crowd.check()


# What fails


@pytest.mark.parametrize("when", ["opening", "live", "catching up", "keep-alive", "last words"])
async def test_a_wire_that_fails_inside_a_write_costs_one_stream_and_no_other(when: str) -> None:
    hub = hub_with(1)
    transport, other = FakeTransport(held=when == "catching up"), FakeTransport()
    transport.fails = when == "opening"
    subscriber = hub.subscribe(frozenset("t"), transport, NOW)
    hub.subscribe(frozenset("t"), other, NOW)
    if when == "catching up":
        await hub.deliver(batch(1, entry(2)))
    transport.fails = True
    if when == "live":
        await hub.deliver(batch(1, entry(2)))
    elif when == "keep-alive":
        hub.keep_alive(subscriber)
    elif when == "last words":
        hub.close(subscriber, CloseReason.DRAINING)
    await drain(transport)
    assert transport.aborted
    assert not subscriber.open
    assert [member.transport for member in hub.subscribers] == [other]
    await hub.deliver(batch(2, entry(3)))
    assert other.said[-1] == "3"


async def test_one_that_fell_behind_is_hung_up_on_and_does_not_keep_its_connection() -> None:
    hub = hub_with(1, events=3)
    _, transport = join(hub, held=True)
    for ms in range(2, 10):
        await hub.deliver(batch(ms - 1, entry(ms)))
    await drain(transport)
    assert transport.ended
    assert transport.hung_up
    assert transport.busy, "it reads nothing of its last words"
    await hub.close_the_slow(deadline=-1)
    assert transport.aborted


async def test_one_whose_last_words_are_through_is_left_alone() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub)
    transport.held = True
    hub.close(subscriber, CloseReason.DRAINING)
    assert not transport.hung_up
    await drain(transport)
    await hub.close_the_slow(deadline=-1)
    assert not transport.aborted


async def test_one_that_is_lost_in_its_last_words_is_freed() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub)
    transport.held = True
    hub.close(subscriber, CloseReason.DRAINING)
    transport.owner.lost()
    assert transport.aborted


# Bytes


async def test_ten_thousand_small_audiences_share_the_bytes_and_a_batch_is_one_write() -> None:
    hub = hub_with(1)
    transports = [join(hub, f"user.{i}", "news", "more")[1] for i in range(50)]
    await hub.deliver(
        batch(1, entry(2, "news"), entry(3, "user.7", "more"), entry(4, "more"), entry(5, "else"))
    )
    assert {tuple(transport.said[1:]) for transport in transports} == {("2", "3", "4")}
    assert {len(transport.payloads) for transport in transports} == {2}
    assert len({id(transport.payloads[1]) for i, transport in enumerate(transports) if i != 7}) == 1


async def test_a_few_share_a_keep_alive_and_many_do_not() -> None:
    hub = hub_with(1)
    joined = [join(hub) for _ in range(100)]
    for subscriber, _ in joined:
        hub.keep_alive(subscriber)
    payloads = {id(transport.payloads[1]) for _, transport in joined}
    assert 100 / STRIDE <= len(payloads) <= 100 / STRIDE + 1
    await hub.deliver(batch(1, entry(2, "elsewhere")))
    hub.keep_alive(joined[0][0])
    assert joined[0][1].events[-1].id == at(2)
