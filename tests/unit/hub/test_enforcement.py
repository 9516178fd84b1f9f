"""Streams end when their grant does: by an order, by the clock, or since nobody confirms it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from notifications.hub import enforcement
from notifications.hub.enforcement import Enforcement
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.subscribers import Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import EVERYONE, Control, Order, Retention
from notifications.log.cursors import Cursor, position
from notifications.transport.base import Payload
from tests.harness.fakes import EPOCH, FakeTransport, batch

DEADLINE = 10.0
NOW_MS = 1_000_000_000_000


class Transport(FakeTransport):
    """Tells when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        super().end(payload, hang_up=hang_up)
        self.over.set()

    @property
    def reason(self) -> str | None:
        *_, last = self.events
        return last.data if last.type == "stream.closing" else None


@dataclass
class Asked:
    """Answers for a grant, and counts how often it was asked."""

    answer: Grant | Exception | None = None
    times: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> Grant | None:
        self.times += 1
        self.asked.set()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def granted(
    *topics: str,
    subjects: tuple[str, ...] = ("user:5",),
    renew: Callable[[], Awaitable[Grant | None]] | None = None,
    until: float | None = None,
    as_of: Cursor | None = None,
) -> Grant:
    return Grant(
        topics=topics or ("t",),
        subjects=subjects,
        renew=renew or Asked(),
        until=until,
        as_of=as_of or at(0),
    )


def at(offset_ms: int) -> Cursor:
    return Cursor(EPOCH, position(NOW_MS + offset_ms))


def order(
    *subjects: str, do: Order = Order.END, reason: str = "kicked", offset_ms: int = 0
) -> Control:
    return Control(do, subjects, reason, at(offset_ms).position)


class Scene:
    def __init__(self, max_age: float) -> None:
        window = Window(Retention(events=100, bytes=10**6, age=3600))
        window.append(batch(0))
        window.restart(at(0).position)
        self.hub = Hub(EPOCH, window)
        self.enforcement = Enforcement(self.hub, max_age=max_age)

    def join(self, grant: Grant) -> tuple[Subscriber, Transport]:
        transport = Transport()
        subscriber = self.hub.subscribe(frozenset(grant.topics), transport, Start())
        self.enforcement.add(subscriber, grant)
        return subscriber, transport


@pytest.fixture(autouse=True)
def time_passes_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforcement, "TICK", 0.02)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Scene]]:
    tasks: list[asyncio.Task[None]] = []

    def begin(*, max_age: float = 600) -> Scene:
        scene = Scene(max_age)
        tasks.append(asyncio.create_task(scene.enforcement.run()))
        return scene

    async with asyncio.timeout(DEADLINE):
        yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


type Make = Callable[..., Scene]


async def test_an_order_ends_the_streams_of_its_subject_and_no_others(make: Make) -> None:
    scene = make()
    _, hers = scene.join(granted(subjects=("user:5", "session:a")))
    _, his = scene.join(granted(subjects=("user:6",)))
    await scene.enforcement.obey([order("user:5")])
    assert hers.reason == '{"reason":"kicked"}'
    assert his.reason is None


async def test_an_order_can_be_about_those_streams_of_somebody_that_have_a_topic(
    make: Make,
) -> None:
    scene = make()
    _, with_it = scene.join(granted("a", "b", subjects=("user:5",)))
    _, without = scene.join(granted("a", subjects=("user:5",)))
    _, his = scene.join(granted("b", subjects=("user:6",)))
    await scene.enforcement.obey([replace(order("user:5"), topics=("b",))])
    assert [transport.ended for transport in (with_it, without, his)] == [True, False, False]


async def test_an_order_about_a_topic_ends_public_streams_too(make: Make) -> None:
    scene = make()
    _, held = scene.join(granted("a", "b"))
    _, public = scene.join(Grant(topics=("b",)))
    _, other = scene.join(Grant(topics=("c",)))
    await scene.enforcement.obey([order("topic:b")])
    assert held.ended
    assert public.ended
    assert not other.ended


async def test_a_stream_is_asked_about_once_it_may_have_changed_and_goes_on_if_not(
    make: Make,
) -> None:
    scene = make()
    asked = Asked()
    asked.answer = granted("t", renew=asked)
    _, transport = scene.join(granted("t", renew=asked))
    await scene.enforcement.obey([order("user:5", do=Order.RECHECK)])
    await asked.asked.wait()
    await asyncio.sleep(0)
    assert not transport.ended
    asked.answer = None
    await scene.enforcement.obey([order("user:5", do=Order.RECHECK)])
    await transport.over.wait()
    assert transport.reason == '{"reason":"permission_ended"}'
    assert asked.times == 2


async def test_a_stream_that_lost_one_topic_of_several_comes_back_for_the_rest(make: Make) -> None:
    scene = make()
    _, transport = scene.join(granted("a", "b", renew=Asked(granted("a"))))
    await scene.enforcement.obey([order(EVERYONE, do=Order.RECHECK)])
    await transport.over.wait()
    assert transport.reason == '{"reason":"permission_ended"}'


async def test_an_order_that_came_between_the_asking_and_the_joining_is_not_missed(
    make: Make,
) -> None:
    scene = make()
    await scene.enforcement.obey([order("user:5", offset_ms=10)])
    _, before = scene.join(granted(as_of=at(9)))
    _, after = scene.join(granted(as_of=at(10)))
    assert before.reason == '{"reason":"kicked"}'
    assert not after.ended


async def test_a_check_that_came_between_the_asking_and_the_joining_is_made_again(
    make: Make,
) -> None:
    scene = make()
    await scene.enforcement.obey([order("user:5", do=Order.RECHECK, offset_ms=10)])
    _, transport = scene.join(granted(as_of=at(9), renew=Asked(None)))
    await transport.over.wait()
    assert transport.reason == '{"reason":"permission_ended"}'


async def test_a_session_that_was_logged_out_lets_nobody_in_any_more(make: Make) -> None:
    """Django says so before it deletes the session."""
    scene = make()
    await scene.enforcement.obey([order("session:a", reason="signed_out", offset_ms=10)])
    _, transport = scene.join(granted(subjects=("session:a", "user:5"), as_of=at(500)))
    assert transport.reason == '{"reason":"signed_out"}'


async def test_a_grant_of_an_earlier_epoch_is_asked_about_at_once(make: Make) -> None:
    scene = make()
    stale = Cursor("fedcba987654", position(NOW_MS))
    _, transport = scene.join(granted(as_of=stale, renew=Asked(None)))
    await transport.over.wait()


async def test_a_grant_for_a_time_ends_on_time(make: Make) -> None:
    scene = make()
    begun = time.time()
    _, transport = scene.join(granted(until=begun + 0.2))
    await transport.over.wait()
    assert transport.reason == '{"reason":"expired"}'
    assert 0.2 <= time.time() - begun < 1.2


async def test_every_grant_is_asked_about_again_when_it_is_old(make: Make) -> None:
    scene = make(max_age=0.1)
    asked = Asked()
    asked.answer = granted(renew=asked)
    _, transport = scene.join(granted(renew=asked))
    while asked.times < 3:
        asked.asked.clear()
        await asked.asked.wait()
    assert not transport.ended
    asked.answer = None
    await transport.over.wait()


async def test_a_grant_that_nobody_can_confirm_ends_after_twice_its_age(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make(max_age=0.1)
    asked = Asked(OSError("the database is away"))
    _, transport = scene.join(granted(renew=asked))
    await transport.over.wait()
    assert transport.reason == '{"reason":"user_unknown"}'
    assert asked.times > 1
    assert "grant.unknown" in caplog.text


async def test_a_renewed_grant_ends_when_it_says(make: Make) -> None:
    scene = make()
    sooner = granted(until=time.time() + 0.2, subjects=("other",))
    _, transport = scene.join(granted(renew=Asked(sooner)))
    await scene.enforcement.obey([order("user:5", do=Order.RECHECK)])
    await transport.over.wait()
    assert transport.reason == '{"reason":"expired"}'


async def test_whoever_left_is_forgotten(make: Make) -> None:
    scene = make()
    subscriber, transport = scene.join(granted())
    scene.hub.lost(subscriber)
    await scene.enforcement.obey([order("user:5")])
    assert not transport.ended
    assert not scene.enforcement._held
    assert not scene.enforcement._by_subject
    assert not scene.enforcement._waiting
    assert not len(scene.enforcement._timers)


async def test_whoever_leaves_while_being_asked_about_is_left_alone(make: Make) -> None:
    scene = make()
    subscribers: list[Subscriber] = []

    async def leave_meanwhile() -> Grant | None:
        scene.hub.lost(subscribers[0])
        return granted()

    subscriber, transport = scene.join(granted(renew=leave_meanwhile))
    subscribers.append(subscriber)
    await scene.enforcement.obey([order("user:5", do=Order.RECHECK)])
    while subscriber.open:  # noqa: ASYNC110 - a fake has nobody to tell
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not transport.ended


async def test_orders_are_remembered_for_ten_minutes(make: Make) -> None:
    scene = make()
    await scene.enforcement.obey([order("session:a", reason="signed_out", offset_ms=0)])
    await scene.enforcement.obey([order("user:9", offset_ms=600_001)])
    _, transport = scene.join(granted(subjects=("session:a",), as_of=at(-1)))
    assert not transport.ended
    assert len(scene.enforcement._recent) == 1
    assert not scene.enforcement._over


async def test_streams_of_one_subject_come_and_go_one_by_one(make: Make) -> None:
    scene = make()
    (one, _), (two, other), (_, last) = (scene.join(granted()) for _ in range(3))
    scene.hub.lost(one)
    await scene.enforcement.obey([order("user:5")])
    assert other.ended
    assert last.ended
    assert not two.open
    assert not scene.enforcement._by_subject
