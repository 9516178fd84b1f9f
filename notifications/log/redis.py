"""The log in a Redis or Valkey stream."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from notifications.errors import Unavailable
from notifications.log import acks, script
from notifications.log.acks import AppendRetry, HighWaterMarks
from notifications.log.backoff import Backoff, Uniform
from notifications.log.base import Log
from notifications.log.connections import (
    REDIRECTED_ERRORS,
    REDIRECTED_PAUSE_SECONDS,
    UNAVAILABLE_ERRORS,
    AsyncConnection,
    Vetting,
    async_pool,
    bounded_roundtrip,
    roundtrip,
)
from notifications.log.cursors import START, Cursor, Position, format_position, parse_position
from notifications.log.entries import Batch, Draft, Gap, Receipt, ResetReason, Retention
from notifications.log.reader import Raw, Reader, ReadSize
from notifications.log.script import SLACK, Command, Slack
from notifications.telemetry.counters import process_counters

logger = logging.getLogger("carillon")

BLOCK_MS = 2_000
BLOCK_MARGIN_SECONDS = 3.0
GATHER_BELOW_ENTRIES = 100
GATHER_PAUSE_SECONDS = 0.001
MAX_CONNECTIONS = 16
FIRST_HISTORY_READ_ENTRIES, MAX_HISTORY_READ_BYTES = 16, 512 * 1024
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0


class RedisLog(Log):
    """`url` is a `REDIS_URL`; `timeout` bounds every call but `tail`, in seconds."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        retention: Retention,
        timeout: float,
        replicas: int = 0,
        slack: Slack = SLACK,
        marks: HighWaterMarks = acks.high_water_marks,
        block_ms: int = BLOCK_MS,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._keys = script.Keys(prefix)
        self._retention = retention
        self._timeout = timeout
        self._replicas = replicas
        self._slack = slack
        self._marks = marks
        self._block_ms = block_ms
        self._uniform = uniform
        self._pool = async_pool(
            url,
            prefix=prefix,
            max_connections=MAX_CONNECTIONS,
            # This class bounds each call once; redis-py would do so at every step. After its own
            # timeout redis-py returns None, as if Redis had sent that, and keeps a connection whose
            # reply is still to come. A cancelled call drops the connection.
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=timeout,
            # This class decides whether to repeat a read or an append; redis-py must not.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._identity = f"{url}#{prefix}"
        self._reached: Cursor | None = None  # a cursor that the log is known to have reached
        self._vetting = Vetting()

    async def __aexit__(self, *error: object) -> None:
        await self._pool.aclose()

    async def state(self) -> Cursor:
        self._reached = script.read_state(await self._call(script.state(self._keys)))
        return self._reached

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        if not drafts:
            return []
        touch = bool(self._replicas)
        retry = AppendRetry(
            script.append(self._keys, self._retention, drafts, touch=touch, slack=self._slack),
            before=self._reached,
            timeout=self._timeout,
            uniform=self._uniform,
        )
        while True:
            try:
                reply = await self._call(
                    retry.command, timeout=retry.remaining, replicas=self._replicas
                )
                receipts = script.read_receipts(reply, drafts)
                break
            except Unavailable as error:
                await asyncio.sleep(retry.pause_after(error))
        self._marks.note(self._identity, receipts)
        return receipts

    async def ping(self) -> None:
        token = secrets.token_hex(8)
        reply = await self._call(script.canary(self._keys, token), replicas=self._replicas)
        if reply != token.encode():
            raise Unavailable("Redis did not give back what it took.", outcome="unknown")

    async def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        reader = Reader()
        position, end = after, format_position(until)
        read_size = ReadSize(first=FIRST_HISTORY_READ_ENTRIES, max_bytes=MAX_HISTORY_READ_BYTES)
        while True:
            start = f"({format_position(position)}"
            raw: list[Raw] = await self._call(
                ["XRANGE", self._keys.stream, start, end, "COUNT", read_size.count]
            )
            for batch in reader.batch(raw, position):
                yield batch
            if len(raw) < read_size.count:
                return
            read_size.adapt(raw)
            position = parse_position(raw[-1][0])

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        cursor = after
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, uniform=self._uniform)
        away = False
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._pool.get_connection()
                try:
                    async with aclosing(self._follow(connection, cursor)) as batches:
                        async for batch in batches:
                            if away:
                                logger.info("log.back")
                                process_counters.reconnects += 1
                                away = False
                            backoff.reset()
                            if batch is None:
                                continue
                            yield batch
                            if isinstance(batch, Gap):
                                return
                            self._reached = cursor = Cursor(cursor.epoch, batch.last)
                finally:
                    await self._pool.release(connection)
            except UNAVAILABLE_ERRORS as error:
                if not away:
                    logger.warning("log.away error=%r", str(error) or type(error).__name__)
                    away = True
            await asyncio.sleep(backoff.next_pause())

    async def _follow(
        self, connection: AsyncConnection, cursor: Cursor
    ) -> AsyncGenerator[Batch | Gap | None]:
        """Tail on one connection; None means that the log is sound and has nothing new."""
        reader = Reader()
        read_size = ReadSize()
        read = format_position(cursor.position)
        await self._check_eviction(connection)
        yield await self._check(connection, cursor)
        while True:
            raw = await self._xread(connection, read, count=read_size.count)
            if not raw:
                yield await self._check(connection, cursor, read=read)
                continue
            read_size.adapt(raw)
            read = raw[-1][0].decode()
            for batch in reader.batch(raw, cursor.position):
                if batch.prev != cursor.position:
                    gap = await self._check(connection, cursor, prev=batch.prev)
                    yield gap or Gap(ResetReason.TRIMMED)
                    return
                cursor = Cursor(cursor.epoch, batch.last)
                yield batch
            if len(raw) < GATHER_BELOW_ENTRIES:
                # A round trip costs far more than an entry, so a pause lets a burst gather.
                await asyncio.sleep(GATHER_PAUSE_SECONDS)

    async def _xread(
        self, connection: AsyncConnection, read: str, *, count: int = 1, block: bool = True
    ) -> list[Raw]:
        block_option = ["BLOCK", self._block_ms] if block else []
        reply = await bounded_roundtrip(
            connection,
            ["XREAD", "COUNT", count, *block_option, "STREAMS", self._keys.stream, read],
            timeout=self._block_ms / 1000 + BLOCK_MARGIN_SECONDS,
        )
        return reply[0][1] if reply else []

    async def _check(
        self,
        connection: AsyncConnection,
        cursor: Cursor,
        *,
        prev: Position | None = None,
        read: str | None = None,
    ) -> Gap | None:
        """Check that the log still has the entry at `cursor`, and every acknowledged entry.

        If the log lost any of them, this ends its epoch, since cursors of that epoch have lost
        their meaning. `prev` is the predecessor that the next entry names. `read` is the position
        after which a read found nothing: if the log's head is higher and another read still finds
        nothing, the entries between were trimmed.
        """
        command = script.state(self._keys, self._marks.mark(self._identity))
        reply = await bounded_roundtrip(connection, command, timeout=self._timeout)
        state = script.read_state(reply)
        if state.epoch != cursor.epoch:
            return Gap(ResetReason.LOG_LOST)
        lost = state.position < cursor.position or (prev is not None and prev < cursor.position)
        if not lost:
            more = read is not None and state.position > cursor.position
            trimmed = more and not await self._xread(connection, str(read), block=False)
            return Gap(ResetReason.TRIMMED) if trimmed else None
        command = script.end(self._keys, state.epoch)
        await bounded_roundtrip(connection, command, timeout=self._timeout)
        return Gap(ResetReason.LOG_LOST)

    async def _check_eviction(self, connection: AsyncConnection) -> None:
        """Log an error, at each connection, if this Redis may evict the log when it is full."""
        try:
            command = ["INFO", "memory"]
            info = await bounded_roundtrip(connection, command, timeout=self._timeout)
        except ResponseError:
            return  # A hosted Redis may not allow INFO.
        if (policy := script.eviction_policy(info)) != "noeviction":
            logger.error(
                "log.eviction policy=%s: this Redis may evict the log, which resets every stream. "
                "Set maxmemory-policy to noeviction.",
                policy,
            )

    async def _call(
        self, command: Command, *, timeout: float | None = None, replicas: int = 0
    ) -> Any:
        """Send a command on a connection of the pool; return the reply once `replicas` have it.

        Raises `Unavailable`, with the outcome if it is known. A node of a cluster that redirects
        us has not executed the command, so this sends it again.
        """
        timeout = self._timeout if timeout is None else timeout
        sent = False
        try:
            async with asyncio.timeout(timeout):
                while True:
                    connection = await self._pool.get_connection()
                    try:
                        await self._vet(connection)
                        sent = True
                        return await _call_with_wait(connection, command, timeout, replicas)
                    except REDIRECTED_ERRORS:
                        sent = False
                    finally:
                        await self._pool.release(connection)
                    await asyncio.sleep(REDIRECTED_PAUSE_SECONDS)
        except UNAVAILABLE_ERRORS as error:
            raise script.unavailable(error, sent=sent) from error

    async def _vet(self, connection: AsyncConnection) -> None:
        """Vet a new connection before its first use: its server may lack acknowledged entries.

        If one is missing, the script ends the epoch.
        """
        if self._vetting.has(connection):
            return
        mark = self._marks.mark(self._identity)
        if mark is not None:
            await roundtrip(connection, script.state(self._keys, mark))
        self._vetting.add(connection)


async def _call_with_wait(
    connection: AsyncConnection, command: Command, timeout: float, replicas: int
) -> Any:
    reply = await roundtrip(connection, command)
    if replicas:
        confirmed = await roundtrip(connection, script.wait(replicas, timeout))
        script.check_replicas(confirmed, replicas)
    return reply
