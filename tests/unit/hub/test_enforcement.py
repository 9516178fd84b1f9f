"""Streams end when their grant does: by a control entry, by the clock, or after a recheck."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from notifications.hub.enforcement import Enforcement
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.subscribers import Start, Subscriber
from notifications.hub.window import Window
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry, Retention
from notifications.transport.base import Payload
from tests.harness.fakes import EPOCH, FakeTransport, batch
from tests.harness.promises import allowed_seconds

DEADLINE = 30.0
NOW_MS = 1_000_000_000_000


class EndingTransport(FakeTransport):
    """Sets `over` when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        super().end(payload, break_off=break_off)
        self.over.set()

    @property
    def reason(self) -> str | None:
        *_, last = self.events
        return last.data if last.type == "stream.closing" else None


@dataclass
class Renewal:
    """The `renew` of a grant: returns or raises `answer`, and counts its calls."""

    answer: Grant | Exception | None = None
    calls: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> Grant | None:
        self.calls += 1
        self.called.set()
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
        renew=renew or Renewal(),
        until=until,
        as_of=as_of or at(0),
    )


def at(offset_ms: int) -> Cursor:
    return Cursor(EPOCH, make_position(NOW_MS + offset_ms))


def control(
    *subjects: str,
    action: ControlAction = ControlAction.END,
    reason: str = "kicked",
    offset_ms: int = 0,
) -> ControlEntry:
    return ControlEntry(action, subjects, reason, at(offset_ms).position)


class Scene:
    def __init__(self, max_age: float) -> None:
        window = Window(Retention(events=100, bytes=10**6, age=3600))
        window.append(batch(0))
        window.restart(at(0).position)
        self.hub = Hub(EPOCH, window)
        self.enforcement = Enforcement(self.hub, max_age=max_age, tick_seconds=0.02)

    def join(self, grant: Grant) -> tuple[Subscriber, EndingTransport]:
        transport = EndingTransport()
        subscriber = self.hub.subscribe(frozenset(grant.topics), transport, Start())
        self.enforcement.add(subscriber, grant)
        return subscriber, transport


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Scene]]:
    tasks: list[asyncio.Task[None]] = []

    def start(*, max_age: float = 600) -> Scene:
        scene = Scene(max_age)
        tasks.append(asyncio.create_task(scene.enforcement.run()))
        return scene

    async with asyncio.timeout(DEADLINE):
        yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


type Make = Callable[..., Scene]


async def test_a_control_entry_ends_the_streams_of_its_subject_and_no_others(make: Make) -> None:
    scene = make()
    _, first = scene.join(granted(subjects=("user:5", "session:a")))
    _, second = scene.join(granted(subjects=("user:6",)))
    await scene.enforcement.apply([control("user:5")])
    assert first.reason == '{"reason":"kicked"}'
    assert second.reason is None


async def test_a_control_entry_can_be_about_only_those_streams_of_a_user_that_have_a_topic(
    make: Make,
) -> None:
    scene = make()
    _, with_it = scene.join(granted("a", "b", subjects=("user:5",)))
    _, without = scene.join(granted("a", subjects=("user:5",)))
    _, other = scene.join(granted("b", subjects=("user:6",)))
    await scene.enforcement.apply([replace(control("user:5"), topics=("b",))])
    assert [transport.ended for transport in (with_it, without, other)] == [True, False, False]


async def test_a_control_entry_about_a_topic_ends_public_streams_too(make: Make) -> None:
    scene = make()
    _, held = scene.join(granted("a", "b"))
    _, public = scene.join(Grant(topics=("b",)))
    _, other = scene.join(Grant(topics=("c",)))
    await scene.enforcement.apply([control("topic:b")])
    assert held.ended
    assert public.ended
    assert not other.ended


async def test_a_stream_is_rechecked_when_its_grant_may_have_changed_and_goes_on_if_not(
    make: Make,
) -> None:
    scene = make()
    renewal = Renewal()
    renewal.answer = granted("t", renew=renewal)
    _, transport = scene.join(granted("t", renew=renewal))
    await scene.enforcement.apply([control("user:5", action=ControlAction.RECHECK)])
    await renewal.called.wait()
    await asyncio.sleep(0)
    assert not transport.ended
    renewal.answer = None
    await scene.enforcement.apply([control("user:5", action=ControlAction.RECHECK)])
    await transport.over.wait()
    assert transport.reason == '{"reason":"permission_ended"}'
    assert renewal.calls == 2


async def test_a_stream_that_lost_one_topic_of_several_ends_so_that_it_returns_for_the_others(
    make: Make,
) -> None:
    scene = make()
    _, transport = scene.join(granted("a", "b", renew=Renewal(granted("a"))))
    await scene.enforcement.apply([control(EVERYONE, action=ControlAction.RECHECK)])
    await transport.over.wait()
    assert transport.reason == '{"reason":"permission_ended"}'


async def test_a_control_entry_between_the_request_and_the_joining_is_not_missed(
    make: Make,
) -> None:
    scene = make()
    await scene.enforcement.apply([control("user:5", offset_ms=10)])
    _, before = scene.join(granted(as_of=at(9)))
    _, after = scene.join(granted(as_of=at(10)))
    assert before.reason == '{"reason":"kicked"}'
    assert not after.ended


async def test_a_recheck_between_the_request_and_the_joining_is_made_after_it(
    make: Make,
) -> None:
    scene = make()
    await scene.enforcement.apply([control("user:5", action=ControlAction.RECHECK, offset_ms=10)])
    _, transport = scene.join(granted(as_of=at(9), renew=Renewal(None)))
    await transport.over.wait()
    assert transport.reason == '{"reason":"permission_ended"}'


async def test_a_session_that_was_logged_out_opens_no_stream_any_more(make: Make) -> None:
    """Django sends its signal before it deletes the session."""
    scene = make()
    await scene.enforcement.apply([control("session:a", reason="signed_out", offset_ms=10)])
    _, transport = scene.join(granted(subjects=("session:a", "user:5"), as_of=at(500)))
    assert transport.reason == '{"reason":"signed_out"}'


async def test_a_grant_of_an_earlier_epoch_is_rechecked_at_once(make: Make) -> None:
    scene = make()
    stale = Cursor("fedcba987654", make_position(NOW_MS))
    _, transport = scene.join(granted(as_of=stale, renew=Renewal(None)))
    await transport.over.wait()


async def test_a_grant_with_an_end_in_time_ends_then(make: Make) -> None:
    scene = make()
    start = time.time()
    _, transport = scene.join(granted(until=start + 0.2))
    await transport.over.wait()
    assert transport.reason == '{"reason":"expired"}'
    assert 0.2 <= time.time() - start < 0.2 + allowed_seconds(1)


async def test_every_grant_is_rechecked_when_it_is_old(make: Make) -> None:
    scene = make(max_age=0.1)
    renewal = Renewal()
    renewal.answer = granted(renew=renewal)
    _, transport = scene.join(granted(renew=renewal))
    while renewal.calls < 3:
        renewal.called.clear()
        await renewal.called.wait()
    assert not transport.ended
    renewal.answer = None
    await transport.over.wait()


async def test_a_grant_that_cannot_be_confirmed_ends_after_twice_its_maximum_age(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make(max_age=0.5)  # on a busy machine too, twice that leaves time for two rechecks
    renewal = Renewal(OSError("the database is away"))
    _, transport = scene.join(granted(renew=renewal))
    await transport.over.wait()
    assert transport.reason == '{"reason":"user_unknown"}'
    assert renewal.calls > 1
    assert "grant.unknown" in caplog.text


async def test_a_renewed_grant_ends_at_its_own_time(make: Make) -> None:
    scene = make()
    sooner = granted(until=time.time() + 0.2, subjects=("other",))
    _, transport = scene.join(granted(renew=Renewal(sooner)))
    await scene.enforcement.apply([control("user:5", action=ControlAction.RECHECK)])
    await transport.over.wait()
    assert transport.reason == '{"reason":"expired"}'


async def test_a_subscriber_that_left_is_forgotten(make: Make) -> None:
    scene = make()
    subscriber, transport = scene.join(granted())
    scene.hub.lost(subscriber)
    await scene.enforcement.apply([control("user:5")])
    assert not transport.ended
    assert not scene.enforcement._held
    assert not scene.enforcement._by_subject
    assert not scene.enforcement._unchecked
    assert not len(scene.enforcement._timers)


async def test_a_subscriber_that_leaves_during_its_recheck_is_left_alone(make: Make) -> None:
    scene = make()
    subscribers: list[Subscriber] = []

    async def leave_meanwhile() -> Grant | None:
        scene.hub.lost(subscribers[0])
        return granted()

    subscriber, transport = scene.join(granted(renew=leave_meanwhile))
    subscribers.append(subscriber)
    await scene.enforcement.apply([control("user:5", action=ControlAction.RECHECK)])
    while subscriber.open:  # noqa: ASYNC110 - the fake sets no event
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not transport.ended


async def test_control_entries_are_remembered_for_ten_minutes(make: Make) -> None:
    scene = make()
    await scene.enforcement.apply([control("session:a", reason="signed_out", offset_ms=0)])
    await scene.enforcement.apply([control("user:9", offset_ms=600_001)])
    _, transport = scene.join(granted(subjects=("session:a",), as_of=at(-1)))
    assert not transport.ended
    assert len(scene.enforcement._recent) == 1
    assert not scene.enforcement._signed_out


async def test_streams_of_one_subject_come_and_go_one_by_one(make: Make) -> None:
    scene = make()
    (leaver, _), (second, other), (_, last) = (scene.join(granted()) for _ in range(3))
    scene.hub.lost(leaver)
    await scene.enforcement.apply([control("user:5")])
    assert other.ended
    assert last.ended
    assert not second.open
    assert not scene.enforcement._by_subject


async def test_a_stream_that_goes_on_here_is_rechecked_as_if_it_had_never_been_interrupted(
    make: Make,
) -> None:
    scene = make(max_age=600)
    old, recent = Renewal(), Renewal()
    now = asyncio.get_running_loop().time()
    _, ended = scene.join(replace(granted("a", renew=old), confirmed=now - 601))
    scene.join(replace(granted("b", renew=recent), confirmed=now - 300))
    await old.called.wait()
    await ended.over.wait()
    assert recent.calls == 0


async def test_a_process_that_lags_holds_nothing_against_a_stream_that_was_decided_later(
    make: Make,
) -> None:
    scene = make()
    _, decided_later = scene.join(granted("a", as_of=at(2)))
    _, decided_before = scene.join(granted("a", as_of=at(0)))
    await scene.enforcement.apply([control("user:5", offset_ms=1)])
    assert (decided_later.ended, decided_before.ended) == (False, True)
    await scene.enforcement.apply([control("user:5", offset_ms=3)])
    assert decided_later.ended
