"""What a process reports of its streams and its window, to whoever operates the site.

Every process reports at its start and once a minute, so that one that is stuck is noticed, and at
once when a control entry of the log asks a question.
"""

import asyncio
import json
import os
import socket
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from heapq import nlargest
from itertools import islice
from operator import itemgetter
from typing import Any, Self

from notifications.conf import Settings
from notifications.errors import Unavailable
from notifications.hub import runtime
from notifications.hub.grants import topic_subject
from notifications.hub.runtime import Runtime
from notifications.hub.subscribers import CloseReason, Subscriber
from notifications.log.cursors import position_ms
from notifications.log.entries import ControlAction, ControlEntry
from notifications.telemetry.logs import logger

PERIOD_SECONDS = 60.0
KEEP_PERIODS = 3
MAX_NAMES = 20
"""The largest topics, and the users with the most streams, that a report names."""
MAX_FOUND = 50
"""The streams that the answer to a question describes."""
MAX_TOPICS = 5
"""The topics of a stream that its description names."""
MAX_ENDED = 1_000
"""The streams that a process remembers after their end."""
AGE_SECONDS = (60, 600, 3_600, 86_400)


@dataclass(frozen=True, slots=True)
class Question:
    """`id`: what answers are recognized by. `subject`: the streams to describe, or none."""

    id: str
    subject: str = ""

    def control(self) -> ControlEntry:
        """Its subject is that of no stream, so it ends and rechecks none."""
        return ControlEntry(ControlAction.REPORT, ("report",), json.dumps(asdict(self)))

    @classmethod
    def of(cls, control: ControlEntry) -> Self:
        return cls(**json.loads(control.reason))


@dataclass(frozen=True, slots=True)
class _Stream:
    """What is remembered of a stream. Times are those of the event loop's clock."""

    subjects: tuple[str, ...]
    topics: frozenset[str]
    opened_at: float
    ended_at: float | None = None
    reason: str = ""

    def is_of(self, subject: str) -> bool:
        kind, _, name = subject.partition(":")
        return subject in self.subjects or (kind == "topic" and name in self.topics)


class Reporter:
    """Lives in the event loop of its runtime, whose window has been loaded."""

    def __init__(self, running: Runtime, *, period: float = PERIOD_SECONDS) -> None:
        self._running = running
        self._hub = running.hub
        self._timing = self._hub.timing
        self._period = period
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._started = self._timing.wall_clock()
        self._questions: asyncio.Queue[Question] = asyncio.Queue()
        self._ended: deque[_Stream] = deque(maxlen=MAX_ENDED)
        self._hub.on_leave.append(self._remember)

    def ask(self, question: Question) -> None:
        self._questions.put_nowait(question)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        question = Question("")
        while True:
            try:
                await self._report(question)
            except Unavailable as error:
                logger.debug("report.unavailable", error=error.detail)
            question = Question("")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    question = await self._questions.get()

    def _remember(self, subscriber: Subscriber, reason: CloseReason) -> None:
        stream = _described(subscriber, ended_at=self._timing.clock(), reason=reason)
        self._ended.append(stream)

    async def _report(self, question: Question) -> None:
        text = json.dumps(await self.report(question))
        at, seconds = self._timing.wall_clock(), KEEP_PERIODS * self._period
        await self._running.log.report(self._process, text, at=at, seconds=seconds)

    async def report(self, question: Question) -> dict[str, Any]:
        """The report as JSON has it; sizes are bounded, whatever the process holds."""
        return {
            "process": self._process,
            "at": self._timing.wall_clock(),
            "started": self._started,
            "ready": self._running.ready,
            "answers": question.id,
            **await self._streams(),
            "window": await self._window(),
            "found": await self._found(question.subject) if question.subject else [],
        }

    async def _streams(self) -> dict[str, Any]:
        topics, users = Counter[str](), Counter[str]()
        ages = [0] * (len(AGE_SECONDS) + 1)
        now, time_slice = self._timing.clock(), self._timing.time_slice()
        members = self._hub.subscribers
        for member in members:
            topics.update(member.audience.topics)
            users.update(name for name in member.subjects if name.startswith("user:"))
            age = now - member.opened_at
            ages[sum(age >= limit for limit in AGE_SECONDS)] += 1
            if time_slice.expired:
                await time_slice.pause()
        return {
            "streams": len(members),
            "slow": self._hub.slow,
            "ages": ages,
            "topics": topics.most_common(MAX_NAMES),
            "users": users.most_common(MAX_NAMES),
        }

    async def _window(self) -> dict[str, Any]:
        window = self._hub.window
        return {
            "events": len(window),
            "bytes": window.size,
            "span": window.span,
            "head": position_ms(window.head) / 1000,
            "topics": await self._largest_topics(),
        }

    async def _largest_topics(self) -> list[tuple[str, int]]:
        """The topics with the most events that the window holds."""
        window, time_slice = self._hub.window, self._timing.time_slice()
        counted = []
        for topic in window.topics:
            counted.append((topic, window.estimate_following([topic], window.floor)))
            if time_slice.expired:
                await time_slice.pause()
        return nlargest(MAX_NAMES, counted, key=itemgetter(1))

    async def _found(self, subject: str) -> list[dict[str, Any]]:
        """The newest streams of a subject: those that are open, and those that ended."""
        open_streams = [_described(member) for member in self._members_of(subject)]
        ended = (stream for stream in reversed(self._ended) if stream.is_of(subject))
        found = sorted(open_streams, key=lambda stream: -stream.opened_at)[:MAX_FOUND]
        return [self._as_json(stream) for stream in (*found, *islice(ended, MAX_FOUND))]

    def _members_of(self, subject: str) -> Iterable[Subscriber]:
        kind, _, name = subject.partition(":")
        if kind == "topic":
            return self._hub.subscribed_to(name)
        return [member for member in self._hub.subscribers if subject in member.subjects]

    def _as_json(self, stream: _Stream) -> dict[str, Any]:
        ahead = self._timing.wall_clock() - self._timing.clock()
        topics = sorted(stream.topics)
        return {
            "users": [name for name in stream.subjects if name.partition(":")[0] != "session"],
            "topics": topics[:MAX_TOPICS],
            "more": max(0, len(topics) - MAX_TOPICS),
            "opened": stream.opened_at + ahead,
            "ended": None if stream.ended_at is None else stream.ended_at + ahead,
            "reason": stream.reason,
        }


def _described(member: Subscriber, *, ended_at: float | None = None, reason: str = "") -> _Stream:
    return _Stream(member.subjects, member.audience.topics, member.opened_at, ended_at, reason)


_reporters: dict[asyncio.AbstractEventLoop, Reporter] = {}


async def report_streams(settings: Settings) -> None:
    """A service of the runtime: report as long as it runs."""
    loop, running = asyncio.get_running_loop(), runtime.current()
    if running is None:
        return
    await running.wait_loaded()
    reporter = _reporters[loop] = Reporter(
        running, period=max(PERIOD_SECONDS, settings.REDIS_IDLE_CHECK)
    )
    try:
        await reporter.run()
    finally:
        if _reporters.get(loop) is reporter:
            del _reporters[loop]


def on_control(control: ControlEntry) -> None:
    """An observer of control entries, called in the event loop of a runtime."""
    if control.action is ControlAction.REPORT:
        reporter = _reporters.get(asyncio.get_running_loop())
        if reporter is not None:
            reporter.ask(Question.of(control))


def subject_of(*, topic: str = "", user: str = "") -> str:
    """The subject of a topic, or of the user with this primary key; an empty text for neither."""
    return topic_subject(topic) if topic else f"user:{user}" if user else ""
