"""The hub: no gap, no repeat, and no block that names a position not yet reached."""

from collections.abc import Callable
from random import Random

import pytest

from notifications.hub.drain import close_all
from notifications.hub.encoders import ENVELOPED, PLAIN, Encoder
from notifications.hub.hub import Hub
from notifications.hub.payloads import MAX_CHUNK_BYTES
from notifications.hub.scheduling import STRIDE, TimeSlice, Timing
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, Position, make_position
from notifications.log.entries import ResetReason, Retention
from tests.harness.fakes import EPOCH, FakeTransport, at, batch, entry, settle

NOW = Start()
ALL = Start(since_ms=0)


def hub_with(*retained: int, events: int = 10_000, timing: Timing | None = None) -> Hub:
    """A hub whose window holds events of topic `t` at these times."""
    window = Window(Retention(events, 10**9, 10**6))
    if retained:
        window.append(batch(0, *map(entry, retained)))
    return Hub(EPOCH, window, timing=timing)


def join(
    hub: Hub, *topics: str, start: Start = NOW, held: bool = False, encoder: Encoder = PLAIN
) -> tuple[Subscriber, FakeTransport]:
    transport = FakeTransport(held=held)
    subscriber = hub.subscribe(frozenset(topics or ("t",)), transport, start, encoder=encoder)
    return subscriber, transport


async def drain(transport: FakeTransport) -> None:
    """The client has read everything that it was sent, and gets what follows."""
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
    assert transport.received == ["stream.cursor", "2", "3"]


async def test_a_stream_that_missed_nothing_opens_where_it_was() -> None:
    _, transport = join(hub_with(1, 2), start=Start(cursor=at(2)))
    assert [event.id for event in transport.events] == [at(2)]


async def test_history_is_replayed_from_the_allowed_time_and_live_events_always_come() -> None:
    window = Window(Retention(100, 10**9, 10**6))
    both = [entry(ms, "t", "u") for ms in (1, 6)]
    window.append(batch(0, both[0], entry(2, "t"), entry(4, "u"), entry(5, "t"), both[1]))
    hub = Hub(EPOCH, window)
    transport = FakeTransport()
    hub.subscribe(frozenset({"t", "u"}), transport, ALL, since={"t": 5, "u": 3})
    assert transport.received == ["stream.cursor", "4", "5", "6"]
    other = FakeTransport()  # its other topic allows what this one does not
    hub.subscribe(frozenset({"t", "u"}), other, Start(cursor=at(0)), since={"t": 5})
    assert other.received == ["stream.cursor", "1", "4", "5", "6"]
    late = FakeTransport()
    hub.subscribe(frozenset({"t"}), late, ALL, since={"t": 100})
    assert late.received == ["stream.cursor"]
    await hub.deliver(batch(6, entry(7, "t")))
    assert late.received == ["stream.cursor", "7"]


async def test_the_whole_history_can_be_requested() -> None:
    _, transport = join(hub_with(1, 2), start=ALL)
    assert transport.received == ["stream.cursor", "1", "2"]


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("nonsense", "unknown"),
        (str(Cursor("ba9876543210", make_position(2))), "log_lost"),
        (at(0), "trimmed"),
    ],
)
async def test_a_cursor_whose_next_events_are_not_known_is_a_reset(
    cursor: str, reason: str
) -> None:
    hub = hub_with(1, 2, 3, events=1)
    _, transport = join(hub, start=Start(cursor=cursor))
    [event] = transport.events
    assert (event.type, event.id) == ("stream.reset", at(3))
    assert event.data == f'{{"reason":"{reason}"}}'
    await hub.deliver(batch(3, entry(4)))
    assert transport.received == ["stream.reset", "4"]


async def test_a_cursor_ahead_of_this_process_gets_no_event_again() -> None:
    hub = hub_with(1)
    _, transport = join(hub, start=Start(cursor=at(3)))
    await hub.deliver(batch(1, entry(2), entry(3), entry(4)))
    await hub.deliver(batch(4, entry(5)))
    await settle()
    assert transport.received == ["stream.cursor", "4", "5"]


# Fan-out


async def test_each_subscriber_gets_the_events_of_its_topics_once() -> None:
    hub = hub_with(1)
    _, both = join(hub, "a", "b")
    _, only_b = join(hub, "b")
    await hub.deliver(batch(1, entry(2, "a", "b"), entry(3, "c"), entry(4, "a")))
    assert both.received == ["stream.cursor", "2", "4"]
    assert only_b.received == ["stream.cursor", "2"]


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
    assert '"topics":["a"]' in a.received[1]
    assert '"topics":["b"]' in b.received[1]


async def test_a_batch_larger_than_a_chunk_comes_in_several() -> None:
    hub = hub_with(1)
    _, transport = join(hub)
    data = b"x" * 1000
    await hub.deliver(batch(1, *(entry(i, data=data) for i in range(2, 202))))
    assert max(map(len, transport.chunks)) <= MAX_CHUNK_BYTES
    assert len(transport.events) == 201


# Slow subscribers


async def test_a_slow_transport_holds_one_payload_and_catches_up_when_it_drains() -> None:
    hub = hub_with(1)
    _, transport = join(hub, held=True)
    for ms in range(2, 6):
        await hub.deliver(batch(ms - 1, entry(ms)))
    assert transport.received == ["stream.cursor"]
    await drain(transport)
    assert transport.received == ["stream.cursor", "2", "3", "4", "5"]
    await drain(transport)
    await hub.deliver(batch(5, entry(6)))
    assert transport.received[-1] == "6"


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
    await hub.deliver(batch(1, entry(2), entry(3, data=b"x" * 2 * MAX_CHUNK_BYTES), entry(4)))
    assert [len(event.data) for event in transport.events[1:]] == [1, 2 * MAX_CHUNK_BYTES, 1]


async def test_a_long_replay_lets_the_loop_go_on_between_chunks() -> None:
    hub = hub_with()
    data = b"x" * 1000
    await hub.deliver(batch(0, *(entry(i, data=data) for i in range(1, 301))))
    _, transport = join(hub, start=ALL)
    assert len(transport.chunks) == 1
    await settle()
    assert len(transport.events) == 301
    assert len(transport.chunks) > 3


async def test_a_subscriber_that_falls_off_the_window_is_closed_with_that_reason() -> None:
    hub = hub_with(1, events=3)
    subscriber, transport = join(hub, held=True)
    for ms in range(2, 10):
        await hub.deliver(batch(ms - 1, entry(ms)))
    await drain(transport)
    assert transport.ended
    assert transport.events[-1].data == '{"reason":"fell_behind"}'
    assert transport.events[-1].id == at(1), "it returns with the cursor that it had"
    assert not subscriber.open


async def test_a_subscriber_that_was_idle_for_longer_than_the_history_has_not_fallen_behind() -> (
    None
):
    hub = hub_with(1, events=3)
    _, transport = join(hub, "quiet")
    for ms in range(2, 10):
        await hub.deliver(batch(ms - 1, entry(ms, "loud")))
    transport.held = True
    await hub.deliver(batch(9, entry(10, "quiet")))
    await hub.deliver(batch(10, entry(11, "quiet")))
    await drain(transport)
    assert transport.received == ["stream.cursor", "10", "11"]


async def test_a_subscriber_that_takes_too_long_is_cut_off_and_others_are_not() -> None:
    hub = hub_with(1)
    slow, slow_transport = join(hub, held=True)
    _, transport = join(hub)
    await hub.close_slow_subscribers(deadline=10)
    assert slow.open
    await hub.close_slow_subscribers(deadline=-1)
    assert slow_transport.aborted
    assert not slow.open
    await hub.deliver(batch(1, entry(2)))
    assert transport.received == ["stream.cursor", "2"]


async def test_a_transport_that_is_lost_is_freed() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub)
    transport.callbacks.lost()
    assert transport.aborted
    assert hub.subscribers == []
    hub.leave(subscriber, CloseReason.CLIENT_LEFT)
    await hub.deliver(batch(1, entry(2)))
    assert transport.received == ["stream.cursor"]


# Keep-alives


async def test_a_keep_alive_names_the_position_of_a_subscriber_that_has_caught_up() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub, "quiet")
    await hub.deliver(batch(1, entry(2, "loud")))
    hub.keep_alive(subscriber)
    assert [event.id for event in transport.events] == [at(1), at(2)]
    assert transport.received == ["stream.cursor", "stream.cursor"]


async def test_a_slow_subscriber_gets_no_position_that_it_has_not_reached() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub, held=True)
    await hub.deliver(batch(1, entry(2)))
    hub.keep_alive(subscriber)
    assert len(transport.chunks) == 1
    await drain(transport)
    assert transport.received == ["stream.cursor", "2"]


# Gaps


async def test_a_gap_is_a_reset_for_every_subscriber_and_nothing_older_follows() -> None:
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
    assert transport.received == ["stream.cursor", "2", "stream.reset", "8"]
    assert slow.received == ["stream.cursor", "stream.reset", "8"]
    head = str(Cursor("ba9876543210", make_position(7)))
    assert [e.id for e in transport.events if e.type == "stream.reset"] == [head]


async def test_a_reset_is_sent_before_any_later_position() -> None:
    def keep_all_alive() -> None:
        for subscriber, _ in joined:
            hub.keep_alive(subscriber)

    hub = hub_with(1, timing=between_slices(keep_all_alive))
    joined = [join(hub) for _ in range(4)]
    window = Window(Retention(100, 10**9, 10**6))
    window.append(batch(0, entry(7)))
    await hub.reload("ba9876543210", window, ResetReason.LOG_LOST)
    for _, transport in joined:
        assert transport.received[:2] == ["stream.cursor", "stream.reset"]


async def test_closing_all_gives_the_reason() -> None:
    hub = hub_with(1)
    _, transport = join(hub)
    _, slow = join(hub, held=True)
    await close_all(hub, CloseReason.STOPPING)
    assert transport.ended
    assert transport.events[-1].data == '{"reason":"stopping"}'
    assert slow.aborted
    assert hub.subscribers == []


# What happens between two slices of a fan-out


def between_slices(action: Callable[[], None]) -> Timing:
    """Every slice ends at once, and the action runs then."""

    class ShortTimeSlice(TimeSlice):
        def __init__(self) -> None:
            super().__init__(-1.0)

        async def pause(self) -> None:
            action()
            await super().pause()

    return Timing(time_slice=ShortTimeSlice, stride=1)


class Crowd:
    """Subscribers that join, lag, drain, fail and leave at random moments, and a check of each."""

    TOPICS = "abcde"
    SIZE = 60

    def __init__(self, random: Random) -> None:
        self.hub = hub_with(timing=between_slices(self.act))
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
                self.end(subscriber, transport)

    def end(self, subscriber: Subscriber, transport: FakeTransport) -> None:
        match self.random.randrange(4):
            case 0:
                transport.fails = subscriber.open  # whenever it is written to
            case 1:
                transport.callbacks.lost()
            case 2:
                self.hub.close(subscriber, CloseReason.DRAINING)
            case 3:
                self.hub.leave(subscriber, CloseReason.CLIENT_LEFT)

    def join(self) -> None:
        topics = frozenset(self.random.sample(self.TOPICS, self.random.randint(1, 3)))
        start = NOW
        if self.published and self.random.random() < 0.7:
            position, _ = self.random.choice(self.published)
            start = Start(cursor=str(Cursor(EPOCH, position)))
        subscriber, transport = join(
            self.hub, *topics, start=start, held=self.random.random() < 0.5
        )
        first = Cursor.parse(transport.events[0].id).position
        self.members.append((subscriber, transport, topics, first))

    def check(self) -> None:
        for subscriber, transport, topics, first in self.members:
            wanted = [
                position
                for position, names in self.published
                if position > first and topics & set(names)
            ]
            reached = first
            got = []
            events = transport.events[1:]
            for event in events:
                if event.type == "stream.closing":
                    assert event is events[-1], "a block follows the closing block"
                    continue
                position = Cursor.parse(event.id).position
                if event.type == "stream.cursor":
                    missing = [p for p in wanted if p <= position and p not in got]
                    assert not missing, "a keep-alive names a position that was not reached"
                else:
                    got.append(position)
                assert position >= reached, "a block goes back"
                reached = position
            assert got == (wanted if subscriber.open else wanted[: len(got)])


@pytest.mark.parametrize("seed", range(30))
async def test_no_gap_and_no_repeat_whatever_happens_between_any_two_slices(seed: int) -> None:
    random = Random(seed)
    crowd = Crowd(random)
    hub = crowd.hub
    clock = 0
    for _ in range(20):
        prev, entries = clock, []
        for _ in range(random.randint(1, 6)):
            clock += 1
            names = tuple(random.sample(Crowd.TOPICS, random.randint(1, 2)))
            entries.append(entry(clock, *names, data=b"x" * random.choice([5, 30_000])))
            crowd.published.append((make_position(clock), names))
        await hub.deliver(batch(prev, *entries))
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


@pytest.mark.parametrize("when", ["opening", "live", "catching up", "keep-alive", "closing"])
async def test_a_transport_that_fails_inside_a_write_costs_one_stream_and_no_other(
    when: str,
) -> None:
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
    elif when == "closing":
        hub.close(subscriber, CloseReason.DRAINING)
    await drain(transport)
    assert transport.aborted
    assert not subscriber.open
    assert [member.transport for member in hub.subscribers] == [other]
    await hub.deliver(batch(2, entry(3)))
    assert other.received[-1] == "3"


async def test_a_closing_block_that_its_client_does_not_read_is_dropped() -> None:
    hub = hub_with(1, events=3)
    _, transport = join(hub, held=True)
    for ms in range(2, 10):
        await hub.deliver(batch(ms - 1, entry(ms)))
    await drain(transport)
    assert transport.ended
    assert transport.busy, "it reads nothing of its closing block"
    await hub.close_slow_subscribers(deadline=-1)
    assert transport.aborted


async def test_a_subscriber_whose_closing_block_was_sent_is_left_alone() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub)
    transport.held = True
    hub.close(subscriber, CloseReason.DRAINING)
    await drain(transport)
    await hub.close_slow_subscribers(deadline=-1)
    assert not transport.aborted


async def test_a_transport_that_is_lost_while_it_closes_is_freed() -> None:
    hub = hub_with(1)
    subscriber, transport = join(hub)
    transport.held = True
    hub.close(subscriber, CloseReason.DRAINING)
    transport.callbacks.lost()
    assert transport.aborted


# Bytes


async def test_ten_thousand_small_audiences_share_the_bytes_and_a_batch_is_one_write() -> None:
    hub = hub_with(1)
    transports = [join(hub, f"user.{i}", "news", "more")[1] for i in range(50)]
    await hub.deliver(
        batch(1, entry(2, "news"), entry(3, "user.7", "more"), entry(4, "more"), entry(5, "else"))
    )
    assert {tuple(transport.received[1:]) for transport in transports} == {("2", "3", "4")}
    assert {len(transport.payloads) for transport in transports} == {2}
    assert len({id(transport.payloads[1]) for i, transport in enumerate(transports) if i != 7}) == 1


async def test_a_few_subscribers_share_a_keep_alive_and_many_do_not() -> None:
    hub = hub_with(1)
    joined = [join(hub) for _ in range(100)]
    for subscriber, _ in joined:
        hub.keep_alive(subscriber)
    payloads = {id(transport.payloads[1]) for _, transport in joined}
    assert 100 / STRIDE <= len(payloads) <= 100 / STRIDE + 1
    await hub.deliver(batch(1, entry(2, "elsewhere")))
    hub.keep_alive(joined[0][0])
    assert joined[0][1].events[-1].id == at(2)
