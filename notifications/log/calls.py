"""The calls of the log to Redis, written once for event loops and for threads.

The core is coroutines that do no I/O themselves: a subclass has the connections and the clock. In
an event loop they wait as all others do. For threads the methods of the subclass block, so that a
coroutine ends without having waited for a loop, and `run` returns its result.
"""

import random
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from notifications.errors import Unavailable
from notifications.log import acks, outcomes, reports, script, sections
from notifications.log import ended as ended_streams
from notifications.log.acks import HighWaterMarks
from notifications.log.backoff import Backoff, Uniform
from notifications.log.cursors import START, Cursor, Position, position_before
from notifications.log.discovery import Addressed, discovery_of
from notifications.log.ended import EndedStream, Recalled
from notifications.log.entries import ControlEntry, Draft, Receipt, Retention
from notifications.log.groups import Groups
from notifications.log.outcomes import LOG_MOVED_ERRORS, REDIRECTED_ERRORS, UNAVAILABLE_ERRORS
from notifications.log.reader import Pages, ReadSize
from notifications.log.script import SLACK, Command, Slack, Token
from notifications.log.sections import Section, SectionReply

MAX_CONNECTIONS = 16
"""Further calls wait until a connection is free."""
PAUSES_SECONDS = (0.02, 0.2)
"""The first and the longest pause before an append is repeated."""
LEAST_SECONDS = 0.01
REDIRECTED_PAUSE_SECONDS = 0.02
WAIT_MARGIN_SECONDS = 1.0
CANARY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """`timeout` bounds a call, in seconds; `replicas` must confirm each append."""

    prefix: str
    retention: Retention
    timeout: float
    replicas: int = 0
    max_connections: int = MAX_CONNECTIONS
    slack: Slack = SLACK
    marks: HighWaterMarks = acks.high_water_marks
    clock: Callable[[], float] = time.monotonic
    uniform: Uniform = random.uniform
    token: Token = secrets.token_hex


class RedisCalls[Connection: Addressed](ABC):
    """`url` is a `REDIS_URL`; `options` are the fields of `CallOptions`."""

    def __init__(self, url: str, **options: Any) -> None:
        self._options = CallOptions(**options)
        self._keys = script.Keys(self._options.prefix, self._options.token)
        self._discovery = discovery_of(url, self._keys.stream)
        self._identity = f"{url}#{self._options.prefix}"
        self._has_reported = False
        self._reached: Cursor | None = None  # a cursor that the log is known to have reached

    # What a subclass has

    _groups: Groups[Any]
    """Sends sections by `_append`."""

    @abstractmethod
    async def _acquire(self, seconds: float) -> Connection:
        """A connection that is connected, and that `_greet` has checked since."""

    @abstractmethod
    async def _release(self, connection: Connection) -> None: ...

    @abstractmethod
    async def _drop(self, connection: Connection) -> None:
        """Disconnect: the connection connects again at its next use."""

    @abstractmethod
    async def _exchange(self, connection: Connection, command: Command, timeout: float) -> Any:
        """Send one command and return its reply, and drop the connection at any other end.

        `timeout`: seconds, where `_within` bounds nothing.
        """

    @abstractmethod
    def _within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound what is awaited in the block; for threads, `_exchange` does that."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None: ...

    # The calls

    async def state(self) -> Cursor:
        reply = await self.call(script.state(self._keys))
        with outcomes.reading():
            self._reached = script.read_state(reply)
        return self._reached

    async def state_before(self, moment: float) -> Cursor | None:
        reply = await self.call(script.state(self._keys))
        with outcomes.reading():
            state, clock_ms = script.read_state(reply), script.read_clock(reply)
        if clock_ms is None:
            return None
        seconds = time.monotonic() - moment
        return Cursor(state.epoch, position_before(state.position, clock_ms, seconds))

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """The first attempt goes with what others publish at this moment, a repetition alone."""
        if not drafts:
            return []
        options, section = self._options, sections.section(self._keys, drafts)
        before = self._known_head()
        deadline = options.clock() + options.timeout
        doubt: Unavailable | None = None
        while True:
            remaining = deadline - options.clock()
            try:
                if doubt is None:
                    reply = await self._groups.send(section, remaining)
                else:
                    [reply] = await self._append([section], remaining)
                with outcomes.reading():
                    receipts = sections.read_receipts(reply, drafts)
                break
            except Unavailable as error:
                if doubt is None:
                    if error.outcome == "not_sent":
                        raise
                    doubt = error  # whatever a later attempt brings
                    section = sections.repetition(section, before)
                    backoff = Backoff(*PAUSES_SECONDS, uniform=options.uniform)
                pause = backoff.next_pause()
                if pause >= deadline - options.clock():
                    raise doubt from None
            await self._sleep(pause)
        options.marks.note(self._identity, receipts)
        return receipts

    async def _append(self, group: Sequence[Section], seconds: float) -> list[SectionReply]:
        """The answers to these sections, all of them sent in one call."""
        options = self._options
        command = sections.append(
            *(self._keys, options.retention, group),
            touch=bool(options.replicas),
            slack=options.slack,
        )
        # Never 0: redis-py takes a timeout of 0 for "do not block at all".
        seconds = max(seconds, LEAST_SECONDS)
        reply = await self.call(command, timeout=seconds, replicas=options.replicas)
        with outcomes.reading():
            return sections.read_sections(reply, len(group))

    def _known_head(self) -> Cursor | None:
        """A cursor that the log has reached."""
        reached, mark = self._reached, self._options.marks.mark(self._identity)
        if mark is None or (reached is not None and reached.position > mark.cursor.position):
            return reached
        return mark.cursor

    async def append_control(self, control: ControlEntry) -> Cursor:
        options = self._options
        command = script.control(self._keys, options.retention, control, slack=options.slack)
        reply = await self.call(command)
        with outcomes.reading():
            cursor = script.read_state(reply)
        options.marks.reach(self._identity, cursor, START)  # which event is before it, is not known
        return cursor

    async def remember(self, ended: Mapping[str, EndedStream | None], *, seconds: float) -> None:
        await self.call(ended_streams.remember(self._keys, ended, seconds=seconds))

    async def recall(self, names: Sequence[str]) -> list[Recalled | None]:
        reply = await self.call(ended_streams.recall(self._keys, names))
        with outcomes.reading():
            return ended_streams.read_recalled(reply, names)

    async def report(self, process: str, text: str, *, at: float, seconds: float) -> None:
        commands = reports.write_commands(self._keys, process, text, at=at, seconds=seconds)
        if not self._has_reported:
            commands.append(reports.forget_command(self._keys, at=at))
        for command in commands:
            await self.call(command)
        self._has_reported = True

    async def reports(self) -> list[str]:
        if names := await self.call(reports.names_command(self._keys)):
            return reports.read_texts(await self.call(reports.read_command(self._keys, names)))
        return []

    async def release(self, keys: Sequence[str], *, seconds: int) -> None:
        await self.call(script.release(self._keys, keys, seconds=seconds))

    async def ping(self) -> None:
        token = self._options.token(CANARY_BYTES)
        reply = await self.call(script.canary(self._keys, token), replicas=self._options.replicas)
        if reply != token.encode():
            raise Unavailable("Redis did not give back what it took.", outcome="unknown")

    def pages(self, after: Position, until: Position, size: ReadSize) -> Pages:
        return Pages(self._keys.stream, after, until, size)

    async def call(
        self, command: Command, *, timeout: float | None = None, replicas: int = 0
    ) -> Any:
        """Send a command on a connection of the pool; return the reply once `replicas` have it.

        Raises `Unavailable`, with the outcome if it is known. A node of a cluster that redirects
        us has not executed the command, so this sends it again.
        """
        timeout = self._options.timeout if timeout is None else timeout
        deadline = self._options.clock() + timeout
        sent = False
        try:
            async with self._within(timeout):
                while True:
                    try:
                        connection = await self._acquire(deadline - self._options.clock())
                        try:
                            sent = True
                            reply = await self._roundtrip(connection, command, timeout)
                            if replicas:
                                await self._wait(connection, replicas, timeout)
                            return reply
                        finally:
                            await self._release(connection)
                    except REDIRECTED_ERRORS:
                        sent = False
                        if self._options.clock() >= deadline:
                            raise
                    await self._sleep(REDIRECTED_PAUSE_SECONDS)
        except Unavailable:
            raise
        except Exception as error:
            # Whatever happens after the command was sent, Redis may have executed it.
            if sent or isinstance(error, UNAVAILABLE_ERRORS):
                raise outcomes.unavailable(error, sent=sent) from error
            raise

    async def _wait(self, connection: Connection, replicas: int, timeout: float) -> None:
        command = script.wait(replicas, timeout)
        try:
            confirmed = await self._roundtrip(connection, command, timeout + WAIT_MARGIN_SECONDS)
        except UNAVAILABLE_ERRORS as error:
            raise outcomes.unconfirmed(error) from error
        outcomes.check_replicas(confirmed, replicas)

    async def _roundtrip(
        self, connection: Connection, command: Command, timeout: float | None = None
    ) -> Any:
        """The reply to one command, if the log is still where this connection leads."""
        timeout = self._options.timeout if timeout is None else timeout
        try:
            try:
                reply = await self._exchange(connection, command, timeout)
            except NoScriptError:
                reply = await self._exchange(connection, script.as_eval(command), timeout)
        except LOG_MOVED_ERRORS:
            # The server was the master, and another is now, perhaps at the same address.
            await self._drop(connection)
            raise
        if self._discovery is not None:
            self._discovery.check_address(connection)
        return reply

    async def _greet(self, connection: Connection) -> None:
        """Check a server each time that a connection to it is made.

        It must be the master, and must not lack an acknowledged entry: if it does, the script ends
        the epoch. One that is back is ended, too: who has a cursor of it may have missed its end.
        """
        if self._discovery is not None and self._discovery.is_sentinel:
            with suppress(ResponseError):  # Redis may not allow this user to run ROLE.
                role = await self._exchange(connection, ["ROLE"], self._options.timeout)
                self._discovery.check_role(role)
        if (mark := self._options.marks.mark(self._identity)) is not None:
            reply = await self._roundtrip(connection, script.state(self._keys, mark))
            epoch = script.read_state(reply).epoch
            if self._options.marks.has_gone_back(self._identity, epoch):
                await self._roundtrip(connection, script.end(self._keys, epoch))


def run[T](call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that blocks, and waits for no event loop."""
    try:
        call.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("This coroutine waits for an event loop.")
