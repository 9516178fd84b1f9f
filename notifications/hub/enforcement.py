"""Ending the streams whose grant has ended: told by a control entry, by the clock, or on asking."""

import asyncio
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile

from notifications.hub.grants import Grant, topic_subject
from notifications.hub.hub import Hub
from notifications.hub.scheduling import TimerWheel, TimeSlice
from notifications.hub.subscribers import CloseReason, Subscriber
from notifications.log.base import EVERYONE, Control, Order
from notifications.log.cursors import Position, position_ms

logger = logging.getLogger("carillon")

RECALL_MS = 10 * 60_000
"""For how long orders are remembered, for grants that were asked for before they came."""

TICK = 0.25
JITTER = 0.25
AT_ONCE = 8
"""How many grants are asked about at the same time: a database has other work too."""

RETRY = 5.0, 15.0


@dataclass(slots=True)
class _Held:
    grant: Grant
    confirmed: float
    due: int = 0


class Enforcement:
    """Knows the grant of each subscriber that has one; lives in one event loop, beside its hub."""

    def __init__(self, hub: Hub, *, max_age: float) -> None:
        self._hub = hub
        self._max_age = max_age
        self._held: dict[Subscriber, _Held] = {}
        # Tuples, since nearly all have one member, and an open stream should cost little.
        self._by_subject: dict[str, tuple[Subscriber, ...]] = {}
        self._timers: TimerWheel[Subscriber] = TimerWheel(TICK)
        self._recent: deque[Control] = deque()
        self._over: dict[str, Position] = {}
        self._waiting: OrderedDict[Subscriber, None] = OrderedDict()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        hub.left.append(self._forget)

    def add(self, subscriber: Subscriber, grant: Grant) -> None:
        """Hold a subscriber to its grant, with what was ordered since that was asked for."""
        if not subscriber.open or grant.renew is None:
            return
        held = self._held[subscriber] = _Held(grant, self._loop.time())
        for subject in grant.subjects:
            self._by_subject[subject] = (*self._by_subject.get(subject, ()), subscriber)
        self._arm(subscriber, held)
        if any(subject in self._over for subject in grant.subjects):
            self._hub.close(subscriber, CloseReason.SIGNED_OUT)
            return
        as_of = grant.as_of
        if as_of is None or as_of.epoch != self._hub.head.epoch:
            self._ask_again(subscriber)
            return
        since = takewhile(lambda each: each.position > as_of.position, reversed(self._recent))
        for control in reversed(list(since)):
            if concerns(control, grant):
                self._carry_out(control, subscriber)

    def _forget(self, subscriber: Subscriber) -> None:
        """The subscriber has left."""
        held = self._held.pop(subscriber, None)
        if held is None:
            return
        self._timers.remove(subscriber, held.due)
        self._waiting.pop(subscriber, None)
        for subject in held.grant.subjects:
            members = self._by_subject.pop(subject)
            if len(members) > 1:
                at = members.index(subscriber)
                self._by_subject[subject] = members[:at] + members[at + 1 :]

    # Orders

    async def obey(self, controls: Sequence[Control]) -> None:
        """Carry out control entries, and remember them for a while."""
        time_slice = TimeSlice()
        for control in controls:
            if control.position:
                self._remember(control)
            for subscriber in self._concerned(control):
                self._carry_out(control, subscriber)
                if time_slice.due:
                    await time_slice.take()

    def _remember(self, control: Control) -> None:
        self._recent.append(control)
        if control.reason == CloseReason.SIGNED_OUT:
            # The session itself may be deleted only after this: nobody comes in by it any more.
            self._over |= dict.fromkeys(control.subjects, control.position)
        oldest = position_ms(control.position) - RECALL_MS
        while position_ms(self._recent[0].position) < oldest:
            past = self._recent.popleft()
            for subject in past.subjects:
                if self._over.get(subject) == past.position:
                    del self._over[subject]

    def _concerned(self, control: Control) -> list[Subscriber]:
        if EVERYONE in control.subjects:
            return list(self._held)
        found: dict[Subscriber, None] = {}
        for subject in control.subjects:
            kind, _, name = subject.partition(":")
            found |= dict.fromkeys(self._hub.hearing(name) if kind == "topic" else ())
            found |= dict.fromkeys(self._by_subject.get(subject, ()))
        return list(found)

    def _carry_out(self, control: Control, subscriber: Subscriber) -> None:
        meant = [topic for topic in control.topics if topic in subscriber.audience.topics]
        if control.topics and not meant:
            return
        if control.order is Order.END:
            self._hub.close(subscriber, reason_of(control), topics=meant)
        else:
            self._ask_again(subscriber)

    # Time

    def _arm(self, subscriber: Subscriber, held: _Held, *, pause: float | None = None) -> None:
        """Have the grant looked at again, when it ends at the latest."""
        if pause is None:
            pause = self._max_age * random.uniform(1 - JITTER, 1)
        if held.grant.until is not None:
            pause = min(pause, max(0.0, held.grant.until - time.time()))
        self._timers.remove(subscriber, held.due)
        held.due = self._timers.add(subscriber, after=pause)

    async def _watch_the_clock(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            await self._look_at(self._timers.due())

    async def _look_at(self, due: Iterable[Subscriber]) -> None:
        time_slice = TimeSlice()
        for subscriber in due:
            held = self._held.get(subscriber)
            if held is None:
                continue
            if held.grant.until is not None and time.time() >= held.grant.until:
                self._hub.close(subscriber, CloseReason.EXPIRED)
            else:
                self._ask_again(subscriber)
            if time_slice.due:
                await time_slice.take()

    # Asking again

    def _ask_again(self, subscriber: Subscriber) -> None:
        if subscriber in self._held:
            self._waiting[subscriber] = None
            self._more.set()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_the_clock())
            for _ in range(AT_ONCE):
                group.create_task(self._ask())

    async def _ask(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            subscriber, _ = self._waiting.popitem(last=False)
            held = self._held[subscriber]
            assert held.grant.renew is not None
            try:
                grant = await held.grant.renew()
            except Exception:
                logger.exception("grant.unknown subjects=%s", ",".join(held.grant.subjects))
                self._postpone(subscriber, held)
            else:
                self._settle(subscriber, held, grant)

    def _postpone(self, subscriber: Subscriber, held: _Held) -> None:
        """Nobody can tell now. That is not yet a no, but it cannot go on for ever."""
        if not subscriber.open:
            return
        if self._loop.time() - held.confirmed > 2 * self._max_age:
            self._hub.close(subscriber, CloseReason.USER_UNKNOWN)
        else:
            self._arm(subscriber, held, pause=min(random.uniform(*RETRY), self._max_age))

    def _settle(self, subscriber: Subscriber, held: _Held, grant: Grant | None) -> None:
        if not subscriber.open:
            return
        if grant is None or not grant.still_covers(held.grant):
            lost = set(held.grant.topics).difference(grant.topics if grant else ())
            self._hub.close(subscriber, CloseReason.PERMISSION_ENDED, topics=sorted(lost))
            return
        # Under the names by which it is found here.
        held.grant = replace(grant, subjects=held.grant.subjects)
        held.confirmed = self._loop.time()
        self._arm(subscriber, held)


def concerns(control: Control, grant: Grant) -> bool:
    names: Iterable[str] = (EVERYONE, *grant.subjects, *map(topic_subject, grant.topics))
    return not set(control.subjects).isdisjoint(names)


def reason_of(control: Control) -> CloseReason:
    with suppress(ValueError):
        return CloseReason(control.reason)
    return CloseReason.PERMISSION_ENDED
