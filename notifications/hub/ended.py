"""Ended streams: what the log is to remember of them, and what it is asked for, by few commands.

After a drain thousands of streams end and come back at the same time. What comes up while the event
loop is busy, or while a command is under way, is one command.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from itertools import islice

from notifications.errors import Unavailable
from notifications.hub.grants import Continuable, Grant
from notifications.hub.subscribers import CloseReason
from notifications.log.base import Log
from notifications.log.ended import EndedStream, Recalled
from notifications.telemetry.logs import logger

INTERRUPTIONS = frozenset(
    {
        *(CloseReason.CLIENT_LEFT, CloseReason.WRITE_FAILED, CloseReason.TOO_SLOW),
        *(CloseReason.FELL_BEHIND, CloseReason.TOO_OLD),
        *(CloseReason.DRAINING, CloseReason.STOPPING),
    }
)
"""The reasons that are about the connection or the process, and not about a permission."""
MAX_STREAMS_AT_ONCE = 500
MAX_ITERATIONS, GATHER_SECONDS = 10, 0.05
"""For how long a question waits, at most, for others that come: in iterations of the event loop."""
FIND_SECONDS = 1.0
"""How long a browser that is back waits for the log, before the database is asked."""

type Spawn = Callable[[Coroutine[None, None, None]], object]
type Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Found:
    """`asked`: the time before the log was asked, by the event loop's clock."""

    recalled: Recalled
    asked: float


class EndedStreams:
    """Remembers streams for `age` seconds; 0 switches that off. Lives in one event loop."""

    def __init__(self, log: Log, *, age: float, clock: Clock, spawn: Spawn) -> None:
        self._log = log
        self._age = age
        self._clock = clock
        self._spawn = spawn
        self._ended: dict[str, tuple[Grant, float] | None] = {}
        self._denied: dict[str, float] = {}
        """Until when this process answers nothing, because a permission ended."""
        self._wanted: dict[str, asyncio.Future[Found | None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, grant: Grant, confirmed: float, reason: CloseReason) -> None:
        """Remember a stream that was interrupted; forget one that a permission has ended.

        `confirmed`: when its permissions were read, by the event loop's clock.
        """
        if not self._age or not isinstance(grant.renew, Continuable):
            return
        name = grant.renew.name()
        if name is None:
            return
        self._denied.pop(name, None)
        if reason in INTERRUPTIONS:
            self._ended[name] = grant, confirmed
        else:
            self._ended[name] = None
            self._deny(name)
        self._start()

    def _deny(self, name: str) -> None:
        now = self._clock()
        self._denied[name] = now + self._age
        while (first := next(iter(self._denied))) and self._denied[first] <= now:
            del self._denied[first]

    async def find(self, name: str) -> Found | None:
        """What is remembered under this name; None if that is nothing, or not known in time."""
        if self._denied.get(name, 0.0) > self._clock():
            return None
        future = self._wanted.get(name)
        if future is None:
            future = self._wanted[name] = asyncio.get_running_loop().create_future()
            self._start()
        try:
            async with asyncio.timeout(FIND_SECONDS):
                found = await asyncio.shield(future)
        except TimeoutError:
            return None
        # It may have ended while the log was asked.
        return None if self._denied.get(name, 0.0) > self._clock() else found

    async def flush(self) -> None:
        """Wait until the log has what was added, or could not be reached."""
        await self._idle.wait()

    def _start(self) -> None:
        if self._idle.is_set():
            self._idle.clear()
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._ended or self._wanted:
                try:
                    await self._gather()
                    await self._write()  # the last thing before, so that what has ended is known
                    await self._read()
                except Unavailable as error:
                    self._ended.clear()  # their browsers cost a query each
                    logger.debug("ended.unavailable", error=error.detail)
        finally:
            self._idle.set()

    async def _gather(self) -> None:
        """Wait as long as each iteration of the loop brings more questions."""
        until = self._clock() + GATHER_SECONDS
        for _ in range(MAX_ITERATIONS):
            count = len(self._wanted)
            await asyncio.sleep(0)
            if not count < len(self._wanted) < MAX_STREAMS_AT_ONCE or self._clock() >= until:
                return

    async def _write(self) -> None:
        while self._ended:
            batch = {name: self._ended.pop(name) for name in _first(self._ended)}
            ended = {name: value and self._described(name, *value) for name, value in batch.items()}
            await self._log.remember(ended, seconds=self._age)

    def _described(self, name: str, grant: Grant, confirmed: float) -> EndedStream | None:
        assert isinstance(grant.renew, Continuable)
        return grant.renew.ended(name, grant, age=self._clock() - confirmed)

    async def _read(self) -> None:
        wanted = {name: self._wanted.pop(name) for name in _first(self._wanted)}
        if not wanted:
            return
        asked, answers = self._clock(), dict[str, Recalled | None]()
        try:
            recalled = await self._log.recall(list(wanted))
            answers = dict(zip(wanted, recalled, strict=True))
        finally:
            for name, future in wanted.items():
                answer = answers.get(name)
                if not future.done():
                    future.set_result(None if answer is None else Found(answer, asked))


def _first(names: Iterable[str]) -> list[str]:
    return list(islice(names, MAX_STREAMS_AT_ONCE))
