"""Group commit: publications that are under way at the same time go to Redis in one call.

One that comes while no call is under way goes at once, alone. Those that come meanwhile wait, and
go together when that call has returned. So groups grow with the load, and nobody waits for a timer.

Written once for event loops and for threads, as `calls.py`.
"""

import asyncio
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from notifications.errors import Outcome, Unavailable
from notifications.log.sections import Section, SectionReply
from notifications.telemetry.logs import logger

MAX_GROUP_EVENTS, MAX_GROUP_BYTES = 250, 512 * 1024
"""Of several publications: Redis does nothing else for the two milliseconds that this takes it."""
STALLED_SHARE = 0.25
"""The share of its time for which a publication waits for a call: its connection may be dead."""

type Send = Callable[[Sequence[Section], float], Awaitable[list[SectionReply]]]


@dataclass(frozen=True, slots=True)
class Failure:
    """Of a call. Each publication raises an error of its own, in its own thread or task."""

    detail: str
    outcome: Outcome


@dataclass(slots=True, eq=False)
class Waiter:
    """One publication. Its signal is given when it has an answer, or a call to make."""

    section: Section
    deadline: float
    signal: Any = None
    answer: SectionReply | Failure | None = None
    call: "Call | None" = None
    is_sent: bool = False
    is_gone: bool = False
    """Cancelled, or timed out: it is sent no more."""


@dataclass(slots=True, eq=False)
class Call:
    """A group that is under way since a moment of the clock."""

    waiters: list[Waiter]
    since: float


@dataclass(slots=True)
class Queue:
    """What waits in this process. A forked process has a queue of its own."""

    lock: AbstractContextManager[object]
    stalled_seconds: float
    pid: int = field(default_factory=os.getpid)
    waiting: deque[Waiter] = field(default_factory=deque)
    under_way: list[Call] = field(default_factory=list)

    def take(self, now: float) -> Call | None:
        """The next call, unless it has to wait for one. The lock is held."""
        if not self.waiting or any(
            now - call.since < self.stalled_seconds for call in self.under_way
        ):
            return None
        waiters: list[Waiter] = []
        events = size = 0
        while self.waiting:
            section = self.waiting[0].section
            events, size = events + section.events, size + section.size
            if waiters and (events > MAX_GROUP_EVENTS or size > MAX_GROUP_BYTES):
                break
            waiters.append(self.waiting.popleft())
        call = Call(waiters, now)
        self.under_way.append(call)
        return call


class Groups[Signal](ABC):
    """`send` makes one call of the script, within so many seconds, and returns its answers.

    `timeout`: the seconds that a publication has, mostly.
    """

    def __init__(
        self, send: Send, timeout: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._stalled_seconds = timeout * STALLED_SHARE
        self._clock = clock
        self._queue = self._new_queue()

    # What a subclass has

    @abstractmethod
    def _new_queue(self) -> Queue: ...

    @abstractmethod
    def _new_signal(self) -> Signal: ...

    @abstractmethod
    async def _wait(self, signal: Signal, seconds: float) -> None:
        """Wait until the signal is given, for so long at most, and take it back."""

    @abstractmethod
    def _give(self, signal: Signal) -> None: ...

    @abstractmethod
    async def _make(self, queue: Queue, call: Call, waiter: Waiter) -> None:
        """Make a call, which goes on for the others if this waiter is cancelled."""

    @abstractmethod
    def _hand_over(self, queue: Queue, call: Call) -> None:
        """Have somebody else make a call."""

    # The groups

    async def send(self, section: Section, seconds: float) -> SectionReply:
        """The answer to a section, within so many seconds. Raises `Unavailable`."""
        queue = self._queue
        if queue.pid != os.getpid():
            queue = self._queue = self._new_queue()
        now = self._clock()
        waiter = Waiter(section, now + seconds)
        with queue.lock:
            queue.waiting.append(waiter)
            call = queue.take(now)
            is_alone = call is not None and call.waiters == [waiter]
            if not is_alone:
                waiter.signal = self._new_signal()
        if is_alone and call is not None:
            [answer] = await self._call(queue, call, waiter.deadline)
            return answer
        try:
            return await self._answer(queue, call, waiter)
        finally:
            with queue.lock:
                waiter.is_gone, call = True, waiter.call
            if call is not None:
                self._hand_over(queue, call)

    async def _answer(self, queue: Queue, call: Call | None, waiter: Waiter) -> SectionReply:
        while waiter.answer is None:
            if call is not None:
                await self._make(queue, call, waiter)
            remaining = waiter.deadline - self._clock()
            if waiter.answer is None and remaining > 0:
                await self._wait(waiter.signal, min(remaining, self._stalled_seconds))
            if waiter.answer is None:
                with queue.lock:
                    call, waiter.call = waiter.call, None
                    if call is None and remaining <= 0:
                        raise self._expired(waiter)
                    call = call or queue.take(self._clock())
        if isinstance(waiter.answer, Failure):
            raise Unavailable(waiter.answer.detail, outcome=waiter.answer.outcome)
        return waiter.answer

    def _expired(self, waiter: Waiter) -> Unavailable:
        if waiter.is_sent:
            return Unavailable(
                "Redis did not acknowledge it: no answer in time.", outcome="unknown"
            )
        waiter.is_gone = True
        return Unavailable(
            "Redis was too busy for it: it was not sent in time.", outcome="not_sent"
        )

    async def _call(self, queue: Queue, call: Call, deadline: float) -> list[SectionReply]:
        """The answers to the waiters of a call, of which those that have gone are left out."""
        try:
            with queue.lock:
                call.waiters = [waiter for waiter in call.waiters if not waiter.is_gone]
                for waiter in call.waiters:
                    waiter.is_sent = True
            if not call.waiters:
                return []
            sections = [waiter.section for waiter in call.waiters]
            return await self._send(sections, deadline - self._clock())
        finally:
            with queue.lock:
                queue.under_way.remove(call)
                next_call = queue.take(self._clock())
            if next_call is not None:
                self._hand_over(queue, next_call)

    async def _call_for_all(self, queue: Queue, call: Call, deadline: float) -> None:
        """Make a call, and give each of its waiters its answer."""
        answers: Sequence[SectionReply | Failure] = ()
        failure = Failure("Redis did not acknowledge it: the call was ended.", "unknown")
        try:
            answers = await self._call(queue, call, deadline)
        except Unavailable as error:
            failure = Failure(error.detail, error.outcome)
        except Exception:
            logger.exception("log.call_failed")
        finally:
            answers = answers or [failure] * len(call.waiters)
            for waiter, answer in zip(call.waiters, answers, strict=True):
                waiter.answer = answer
                self._give(waiter.signal)


class LoopGroups(Groups[asyncio.Event]):
    """For an event loop: a task makes the call of a group."""

    def __init__(self, send: Send, timeout: float, **options: Any) -> None:
        super().__init__(send, timeout, **options)
        self._tasks = set[asyncio.Task[None]]()

    async def close(self) -> None:
        """End the calls that are under way."""
        while self._tasks:  # each that ends starts the one after it
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)  # `gather` lets nothing run if all have ended

    def _new_queue(self) -> Queue:
        return Queue(nullcontext(), self._stalled_seconds)

    def _new_signal(self) -> asyncio.Event:
        return asyncio.Event()

    async def _wait(self, signal: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await signal.wait()
        signal.clear()

    def _give(self, signal: asyncio.Event) -> None:
        signal.set()

    async def _make(self, queue: Queue, call: Call, waiter: Waiter) -> None:
        self._hand_over(queue, call)

    def _hand_over(self, queue: Queue, call: Call) -> None:
        deadline = max(waiter.deadline for waiter in call.waiters)
        making = self._call_for_all(queue, call, deadline)
        # Without the context of the request before; and a task that has begun answers its waiters,
        # whatever ends it.
        loop, context = asyncio.get_running_loop(), Context()
        task = asyncio.Task(making, loop=loop, context=context, eager_start=True)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class ThreadGroups(Groups[threading.Event]):
    """For threads: of a group, the one that has most time left makes the call."""

    def _new_queue(self) -> Queue:
        # A signal's handler may publish too, in the midst of anything.
        return Queue(threading.RLock(), self._stalled_seconds)

    def _new_signal(self) -> threading.Event:
        return threading.Event()

    async def _wait(self, signal: threading.Event, seconds: float) -> None:
        signal.wait(seconds)
        signal.clear()

    def _give(self, signal: threading.Event) -> None:
        signal.set()

    async def _make(self, queue: Queue, call: Call, waiter: Waiter) -> None:
        await self._call_for_all(queue, call, waiter.deadline)

    def _hand_over(self, queue: Queue, call: Call) -> None:
        following: Call | None = call
        with queue.lock:
            while following is not None:
                for waiter in reversed(following.waiters):
                    if not waiter.is_gone:
                        waiter.call = following
                        self._give(waiter.signal)
                        return
                queue.under_way.remove(following)
                following = queue.take(self._clock())
