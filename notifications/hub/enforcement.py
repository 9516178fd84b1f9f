"""Enforcement: ends streams with their grants, by a control entry, the clock or a recheck."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from notifications.conf.namespace import log_subjects
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.recheck import (
    GrantEnd,
    HeldGrant,
    RecheckPolicy,
    applies_to,
    concerns,
    ordered_end,
)
from notifications.hub.scheduling import TimerWheel
from notifications.hub.subscribers import CloseReason, Subscriber
from notifications.log.cursors import Position, position_ms
from notifications.log.entries import EVERYONE, ControlEntry

REMEMBERED_MS = 10 * 60_000
"""How long control entries are remembered, for grants that were requested before they came."""
TICK_SECONDS = 0.25
CONCURRENT_RECHECKS = 8
"""Few, because the database has other work too."""


@dataclass(slots=True)
class _StreamGrant(HeldGrant):
    tick: int = 0
    """The tick of the timer wheel in which the stream is due."""


type OnEnd = Callable[[Grant, float, CloseReason], object]
"""Called with a grant whose stream has ended, when it was confirmed, and why the stream ended."""


class Enforcement:
    """Knows the grant of each subscriber that has one. Lives in one event loop, beside its hub.

    A grant without `renew` never ends by itself; only a kick of its topic ends its stream.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        max_age: float,
        tick_seconds: float = TICK_SECONDS,
        on_end: OnEnd | None = None,
    ) -> None:
        timing = hub.timing
        self._hub = hub
        self._timing = timing
        self._tick_seconds = tick_seconds
        self._on_end = on_end
        self._policy = RecheckPolicy(
            max_age=max_age,
            clock=timing.clock,
            wall_clock=timing.wall_clock,
            random=timing.random,
        )
        self._held: dict[Subscriber, _StreamGrant] = {}
        # Tuples, because nearly all have one member and an open stream should cost little memory.
        self._by_subject: dict[str, tuple[Subscriber, ...]] = {}
        self._timers: TimerWheel[Subscriber] = TimerWheel(tick_seconds, clock=timing.clock)
        self._is_armed = asyncio.Event()
        self._recent: deque[ControlEntry] = deque()
        self._signed_out: dict[str, Position] = {}
        self._unchecked: OrderedDict[Subscriber, None] = OrderedDict()
        self._has_unchecked = asyncio.Event()
        hub.on_leave.append(self._forget)

    def add(self, subscriber: Subscriber, grant: Grant) -> None:
        """Hold a subscriber to its grant, and apply the control entries that came after `as_of`."""
        if not subscriber.open or grant.renew is None:
            return
        confirmed = self._timing.clock() if grant.confirmed is None else grant.confirmed
        held = self._held[subscriber] = _StreamGrant(grant, confirmed)
        subjects = grant.log_subjects
        for subject in subjects:
            self._by_subject[subject] = (*self._by_subject.get(subject, ()), subscriber)
        self._arm(subscriber, held, after=self._policy.seconds_until_recheck(held))
        if any(subject in self._signed_out for subject in subjects):
            self._hub.close(subscriber, CloseReason.SIGNED_OUT)
            return
        as_of = grant.as_of
        if as_of is None or as_of.epoch != self._hub.head.epoch:
            self._recheck_soon(subscriber)
        for control in self._missed(grant):
            self._apply_to(subscriber, control)

    def replayable(self, grant: Grant) -> Mapping[str, int]:
        """As `grant.log_since`. Of a grant that a control entry has ended meanwhile, no history.

        Its stream ends in the same step in which it opens, and must not have had a replay.
        """
        if grant.renew is None or not self._has_ended(grant):
            return grant.log_since
        return dict.fromkeys(grant.log_topics, position_ms(self._hub.head.position) + 1)

    def _has_ended(self, grant: Grant) -> bool:
        topics = grant.log_topics
        return any(subject in self._signed_out for subject in grant.log_subjects) or any(
            ordered_end(control, topics) for control in self._missed(grant)
        )

    def _missed(self, grant: Grant) -> list[ControlEntry]:
        """The control entries that concern a grant and came since its permissions were read."""
        as_of = grant.as_of
        if as_of is None:
            return []
        newest_first = reversed(self._recent)
        missed = takewhile(lambda control: control.position > as_of.position, newest_first)
        return [control for control in reversed(list(missed)) if concerns(control, grant)]

    def _forget(self, subscriber: Subscriber, reason: CloseReason) -> None:
        """The subscriber has left the hub."""
        held = self._held.pop(subscriber, None)
        if held is None:
            return
        self._timers.remove(subscriber, held.tick)
        if subscriber in self._unchecked:
            del self._unchecked[subscriber]  # whether it may go on was just being found out
        elif self._on_end is not None and held.unsettled is None:
            self._on_end(held.grant, held.confirmed, reason)
        for subject in held.grant.log_subjects:
            members = self._by_subject.pop(subject)
            if len(members) > 1:
                at = members.index(subscriber)
                self._by_subject[subject] = members[:at] + members[at + 1 :]

    # By a control entry

    async def apply(self, controls: Sequence[ControlEntry]) -> None:
        """Apply control entries to the streams that are open, and remember them for a while."""
        time_slice = self._timing.time_slice()
        for control in controls:
            if control.position:
                self._remember(control)
            for subscriber in self._concerned(control):
                self._apply_to(subscriber, control)
                if time_slice.expired:
                    await time_slice.pause()

    def _remember(self, control: ControlEntry) -> None:
        self._recent.append(control)
        if control.reason == CloseReason.SIGNED_OUT:
            # Django may delete the session only after this entry, so it must open no stream.
            self._signed_out |= dict.fromkeys(_log_subjects(control), control.position)
        oldest = position_ms(control.position) - REMEMBERED_MS
        while position_ms(self._recent[0].position) < oldest:
            past = self._recent.popleft()
            for subject in _log_subjects(past):
                if self._signed_out.get(subject) == past.position:
                    del self._signed_out[subject]

    def _concerned(self, control: ControlEntry) -> list[Subscriber]:
        if EVERYONE in control.subjects:
            return [
                subscriber
                for subscriber, held in self._held.items()
                if control.namespace in ("", held.grant.namespace)
            ]
        subscribers: dict[Subscriber, None] = {}
        for subject in _log_subjects(control):
            kind, _, name = subject.partition(":")
            subscribers |= dict.fromkeys(self._hub.subscribed_to(name) if kind == "topic" else ())
            subscribers |= dict.fromkeys(self._by_subject.get(subject, ()))
        return list(subscribers)

    def _apply_to(self, subscriber: Subscriber, control: ControlEntry) -> None:
        topics = subscriber.audience.topics
        if not applies_to(control, topics) or self._is_answered(control, subscriber):
            return
        end = ordered_end(control, topics)
        if end is None:
            self._recheck_soon(subscriber)
        else:
            self._end(subscriber, end)

    def _is_answered(self, control: ControlEntry, subscriber: Subscriber) -> bool:
        """Whether the permissions were read after the entry, by a process that is further ahead."""
        held = self._held.get(subscriber)
        as_of = held and held.grant.as_of
        if not control.position or not as_of or as_of.epoch != self._hub.head.epoch:
            return False
        return control.position < as_of.position

    def _end(self, subscriber: Subscriber, end: GrantEnd) -> None:
        self._hub.close(subscriber, end.reason, topics=end.topics)

    # By the clock

    def _arm(self, subscriber: Subscriber, held: _StreamGrant, *, after: float) -> None:
        self._timers.remove(subscriber, held.tick)
        held.tick = self._timers.add(subscriber, after=after)
        self._is_armed.set()

    async def _watch_clock(self) -> None:
        while True:
            await self._is_armed.wait()
            await asyncio.sleep(self._tick_seconds)
            await self._check(self._timers.due())
            if not self._timers:
                self._is_armed.clear()

    async def _check(self, due: Iterable[Subscriber]) -> None:
        time_slice = self._timing.time_slice()
        for subscriber in due:
            held = self._held.get(subscriber)
            if held is None:
                continue
            if self._policy.has_expired(held):
                self._hub.close(subscriber, CloseReason.EXPIRED)
            else:
                self._recheck_soon(subscriber)
            if time_slice.expired:
                await time_slice.pause()

    # By a recheck

    def _recheck_soon(self, subscriber: Subscriber) -> None:
        if subscriber in self._held:
            self._unchecked[subscriber] = None
            self._has_unchecked.set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_clock())
            for _ in range(CONCURRENT_RECHECKS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            while not self._unchecked:
                self._has_unchecked.clear()
                await self._has_unchecked.wait()
            await self._recheck_next()

    async def _recheck_next(self) -> None:
        # Not a part of the loop in `_work`, whose variables would hold the stream until the next.
        subscriber, _ = self._unchecked.popitem(last=False)
        held = self._held[subscriber]
        outcome = await self._policy.recheck(held)
        if not subscriber.open:
            return
        if isinstance(outcome, GrantEnd):
            self._end(subscriber, outcome)
        else:
            self._arm(subscriber, held, after=outcome)


def _log_subjects(control: ControlEntry) -> tuple[str, ...]:
    return log_subjects(control.namespace, control.subjects)
