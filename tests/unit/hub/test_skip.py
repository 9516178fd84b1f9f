"""Events that skip a subscriber: all other ones get them, in the same order."""

from notifications.hub.hub import Hub
from notifications.hub.subscribers import Start, Subscriber
from notifications.hub.window import Window
from notifications.log.entries import Retention
from notifications.log.records import Entry
from tests.harness.fakes import EPOCH, FakeTransport, at, batch, entry, settle

ADA, EVE = "user:1", "user:2"


def hub_with(*entries: Entry) -> Hub:
    window = Window(Retention(100, 10**9, 10**6))
    if entries:
        window.append(batch(0, *entries))
    return Hub(EPOCH, window)


def not_for(subject: str, ms: int, *topics: str) -> Entry:
    skipping = entry(ms, *topics)
    skipping.skip = frozenset({subject})
    return skipping


def join(
    hub: Hub, *subjects: str, start: Start | None = None, held: bool = False
) -> tuple[Subscriber, FakeTransport]:
    transport = FakeTransport(held=held)
    subscriber = hub.subscribe(frozenset({"t"}), transport, start or Start(), subjects=subjects)
    return subscriber, transport


async def test_an_event_skips_one_subscriber_and_no_other() -> None:
    hub = hub_with()
    (_, ada), (_, eve), (_, nobody) = join(hub, ADA, "session:x"), join(hub, EVE), join(hub)
    await hub.deliver(batch(0, entry(1), not_for(ADA, 2), entry(3)))
    await settle()
    assert ada.received == ["stream.cursor", "1", "3"]
    assert eve.received == nobody.received == ["stream.cursor", "1", "2", "3"]
    assert eve.chunks[1] is nobody.chunks[1]


async def test_what_follows_a_skipped_event_is_neither_lost_nor_repeated() -> None:
    hub = hub_with()
    _, ada = join(hub, ADA)
    await hub.deliver(batch(0, not_for(ADA, 1)))
    await hub.deliver(batch(1, entry(2)))
    await settle()
    await hub.deliver(batch(2, not_for(ADA, 3), entry(4)))
    await hub.deliver(batch(4, entry(5)))
    await settle()
    assert ada.received == ["stream.cursor", "2", "4", "5"]


async def test_a_replay_skips_too() -> None:
    hub = hub_with(entry(1), not_for(ADA, 2), entry(3))
    _, ada = join(hub, ADA, start=Start(cursor=at(0)))
    _, eve = join(hub, EVE, start=Start(cursor=at(0)))
    assert ada.received == ["stream.cursor", "1", "3"]
    assert eve.received == ["stream.cursor", "1", "2", "3"]


async def test_a_keep_alive_names_the_position_of_an_event_that_skipped_the_subscriber() -> None:
    hub = hub_with()
    subscriber, ada = join(hub, ADA)
    await hub.deliver(batch(0, not_for(ADA, 7)))
    await settle()
    hub.keep_alive(subscriber)
    assert [event.id for event in ada.events] == [at(0), at(7)]


async def test_a_slow_subscriber_is_skipped_when_it_catches_up() -> None:
    hub = hub_with()
    _, ada = join(hub, ADA, held=True)
    await hub.deliver(batch(0, entry(1), not_for(ADA, 2), entry(3)))
    ada.drain()
    await settle()
    assert ada.received == ["stream.cursor", "1", "3"]
