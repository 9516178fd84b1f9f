"""The log in a Redis or Valkey stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from redis.exceptions import ResponseError

from notifications.log import script
from notifications.log.backoff import Backoff
from notifications.log.base import Log
from notifications.log.calls import RedisCalls
from notifications.log.connections import AsyncConnection, LoopPool, async_maker, send
from notifications.log.cursors import START, Cursor, Position, format_position
from notifications.log.entries import Batch, Gap, ResetReason
from notifications.log.groups import LoopGroups
from notifications.log.outcomes import UNAVAILABLE_ERRORS
from notifications.log.reader import Raw, Reader, ReadSize, last_event
from notifications.log.script import Command
from notifications.telemetry.counters import process_counters
from notifications.telemetry.logs import logger

IDLE_CHECK_SECONDS = 2.0
BLOCK_MARGIN_SECONDS = 3.0
GATHER_BELOW_ENTRIES = 100
GATHER_PAUSE_SECONDS = 0.001
FIRST_HISTORY_READ_ENTRIES, MAX_HISTORY_READ_BYTES = 16, 512 * 1024
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0


class RedisLog(RedisCalls[AsyncConnection], Log):
    """`options` are the fields of `CallOptions`; its `timeout` bounds every call but `tail`.

    `idle_check`: seconds after which a tail that got nothing checks that the log is sound.
    """

    def __init__(self, url: str, *, idle_check: float = IDLE_CHECK_SECONDS, **options: Any) -> None:
        super().__init__(url, **options)
        self._idle_check = idle_check
        make = async_maker(
            url,
            self._discovery,
            self._greet,
            # `_within` bounds each call once; redis-py would do so at every step. After its own
            # timeout redis-py returns None, as if Redis had sent that, and keeps a connection whose
            # reply is still to come. A cancelled call drops the connection.
            socket_timeout=None,
            socket_connect_timeout=self._options.timeout,
        )
        clock = self._options.clock
        self._pool = LoopPool(make, limit=self._options.max_connections, clock=clock)
        self._groups: LoopGroups = LoopGroups(self._append, self._options.timeout, clock=clock)

    async def __aexit__(self, *error: object) -> None:
        await self._groups.close()
        await self._pool.close()

    async def _acquire(self, seconds: float) -> AsyncConnection:
        return await self._pool.acquire(seconds)

    async def _release(self, connection: AsyncConnection) -> None:
        await self._pool.release(connection)

    async def _drop(self, connection: AsyncConnection) -> None:
        await connection.disconnect()

    async def _exchange(self, connection: AsyncConnection, command: Command, timeout: float) -> Any:
        await send(connection, command)
        return await connection.read_response()

    def _within(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        size = ReadSize(first=FIRST_HISTORY_READ_ENTRIES, max_bytes=MAX_HISTORY_READ_BYTES)
        pages = self.pages(after, until, size)
        while not pages.is_over:
            for batch in pages.batches(await self.call(pages.command)):
                yield batch

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        cursor = after
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, uniform=self._options.uniform)
        away = False
        while True:
            try:
                async with self._within(self._options.timeout):
                    connection = await self._pool.acquire(self._options.timeout, lasting=True)
                try:
                    async with aclosing(self._follow(connection, cursor)) as batches:
                        async for batch in batches:
                            if away:
                                logger.info("log.back")
                                process_counters.reconnects += 1
                                away = False
                            backoff.reset()
                            await self._pool.close_idle()
                            if batch is None:
                                continue
                            yield batch
                            if isinstance(batch, Gap):
                                return
                            self._reached = cursor = Cursor(cursor.epoch, batch.last)
                            self._options.marks.reach(self._identity, cursor, last_event(batch))
                finally:
                    await self._release(connection)
            except UNAVAILABLE_ERRORS as error:
                if not away:
                    logger.warning("log.away", error=str(error) or type(error).__name__)
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
        block_option = ["BLOCK", int(self._idle_check * 1000)] if block else []
        reply = await self._bounded_roundtrip(
            connection,
            ["XREAD", "COUNT", count, *block_option, "STREAMS", self._keys.stream, read],
            timeout=self._idle_check + BLOCK_MARGIN_SECONDS,
        )
        return reply[0][1] if reply else []

    async def _bounded_roundtrip(
        self, connection: AsyncConnection, command: Command, timeout: float | None = None
    ) -> Any:
        """`_roundtrip` within `timeout` seconds, or those of a call."""
        async with self._within(timeout or self._options.timeout):
            return await self._roundtrip(connection, command)

    async def _check(
        self,
        connection: AsyncConnection,
        cursor: Cursor,
        *,
        prev: Position | None = None,
        read: str | None = None,
    ) -> Gap | None:
        """Check that the log still has the entry at `cursor`, and every entry that is known.

        If the log lost any of them, this ends its epoch, since cursors of that epoch have lost
        their meaning. `prev` is the predecessor that the next entry names. `read` is the position
        after which a read found nothing: if the log's head is higher and another read still finds
        nothing, the entries between were trimmed.
        """
        command = script.state(self._keys, self._options.marks.mark(self._identity))
        state = script.read_state(await self._bounded_roundtrip(connection, command))
        if state.epoch != cursor.epoch:
            return Gap(ResetReason.LOG_LOST)
        lost = state.position < cursor.position or (prev is not None and prev < cursor.position)
        if not lost:
            more = read is not None and state.position > cursor.position
            trimmed = more and not await self._xread(connection, str(read), block=False)
            return Gap(ResetReason.TRIMMED) if trimmed else None
        await self._bounded_roundtrip(connection, script.end(self._keys, state.epoch))
        return Gap(ResetReason.LOG_LOST)

    async def _check_eviction(self, connection: AsyncConnection) -> None:
        """Log, at each connection, what this Redis may do when it is full."""
        try:
            info = await self._bounded_roundtrip(connection, ["INFO", "memory"])
        except ResponseError:
            return  # A hosted Redis may not allow INFO.
        policy = script.info_value(info, "maxmemory_policy")
        if risk := script.eviction_risk(policy):
            logger.error(
                "log.eviction",
                policy=policy,
                when_full=risk,
                hint="Set maxmemory-policy to noeviction in this Redis.",
            )
