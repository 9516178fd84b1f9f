"""The log in a Redis or Valkey stream."""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any
from weakref import WeakSet

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError

from notifications.errors import Unavailable
from notifications.log import acks, script
from notifications.log.acks import AppendRetry
from notifications.log.base import Batch, Draft, Gap, Log, Receipt, ResetReason, Retention
from notifications.log.connections import AWAY, ELSEWHERE, REDIRECTED, async_pool
from notifications.log.cursors import START, Cursor, Position, format_position
from notifications.log.reader import Raw, Reader, ReadSize
from notifications.telemetry.counters import process_counters

logger = logging.getLogger("carillon")

BLOCK_MS = 2_000
REPLY_MARGIN = 3.0
GATHER_BELOW = 100
GATHER_PAUSE = 0.001
MAX_CONNECTIONS = 16
FIRST_READ, READ_BYTES = 16, 512 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


class RedisLog(Log):
    """`url` is a `REDIS_URL`; `timeout` (seconds) bounds all but `tail`."""

    def __init__(
        self, url: str, *, prefix: str, retention: Retention, timeout: float, replicas: int = 0
    ) -> None:
        self._keys = script.Keys(prefix)
        self._retention = retention
        self._timeout = timeout
        self._replicas = replicas
        self._pool = async_pool(
            url,
            prefix=prefix,
            max_connections=MAX_CONNECTIONS,
            # Each wait is bounded here, once, and not again at each step by redis-py. Where its own
            # time passes it returns None, as if Redis had said so, and keeps a connection on which
            # the answer is still to come. Cancelling it drops the connection.
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=timeout,
            # Repeating a read or an append is ours to decide: redis-py would do it behind our back.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._identity = f"{url}#{prefix}"
        self._reached: Cursor | None = None  # where the log is known to have been
        self._vetted = WeakSet[AbstractConnection]()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._pool.aclose()

    async def state(self) -> Cursor:
        self._reached = script.read_state(await self._ask(script.state(self._keys)))
        return self._reached

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        if not drafts:
            return []
        call = script.append(self._keys, self._retention, drafts, touch=bool(self._replicas))
        attempts = AppendRetry(call, before=self._reached, timeout=self._timeout)
        while True:
            try:
                reply = await self._ask(attempts.call, timeout=attempts.left, copies=True)
                receipts = script.read_receipts(reply, drafts)
                break
            except Unavailable as error:
                await asyncio.sleep(attempts.pause_after(error))
        acks.here.note(self._identity, receipts)
        return receipts

    async def ping(self) -> None:
        token = secrets.token_hex(8)
        said = await self._ask(script.canary(self._keys, token), copies=True)
        if said != token.encode():
            raise Unavailable("Redis did not give back what it took.", outcome="unknown")

    async def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        reader = Reader()
        last = format_position(after)
        end = format_position(until)
        read_size = ReadSize(first=FIRST_READ, most_bytes=READ_BYTES)
        while True:
            call = ["XRANGE", self._keys.stream, f"({last}", end, "COUNT", read_size.count]
            raw: list[Raw] = await self._ask(call)
            for batch in reader.batch(raw):
                yield batch
            if len(raw) < read_size.count:
                return
            read_size.took(raw)
            last = raw[-1][0].decode()

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        place = after
        pause = FIRST_PAUSE
        away = False
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._pool.get_connection()
                try:
                    async with aclosing(self._follow(connection, place)) as follow:
                        async for said in follow:
                            if away:
                                logger.info("log.back")
                                process_counters.reconnects += 1
                                away = False
                            pause = FIRST_PAUSE
                            if said is None:
                                continue
                            yield said
                            if isinstance(said, Gap):
                                return
                            self._reached = place = Cursor(place.epoch, said.last)
                finally:
                    await self._pool.release(connection)
            except AWAY as error:
                if not away:
                    logger.warning("log.away error=%r", str(error) or type(error).__name__)
                    away = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _follow(
        self, connection: AbstractConnection, place: Cursor
    ) -> AsyncGenerator[Batch | Gap | None]:
        """As `tail`, on one connection; None says that there was nothing, and that it is sound."""
        reader = Reader()
        read_size = ReadSize()
        read = format_position(place.position)
        await self._check_eviction(connection)
        yield await self._check(connection, place)
        while True:
            raw = await self._xread(connection, read, count=read_size.count)
            if not raw:
                yield await self._check(connection, place, read=read)
                continue
            read_size.took(raw)
            read = raw[-1][0].decode()
            for batch in reader.batch(raw):
                if batch.prev != place.position:
                    gap = await self._check(connection, place, prev=batch.prev)
                    yield gap or Gap(ResetReason.TRIMMED)
                    return
                place = Cursor(place.epoch, batch.last)
                yield batch
            if len(raw) < GATHER_BELOW:
                # A round trip costs far more than an entry: let a burst gather.
                await asyncio.sleep(GATHER_PAUSE)

    async def _xread(
        self, connection: AbstractConnection, read: str, *, count: int = 1, block: bool = True
    ) -> list[Raw]:
        wait = ["BLOCK", BLOCK_MS] if block else []
        reply = await self._converse(
            connection,
            ["XREAD", "COUNT", count, *wait, "STREAMS", self._keys.stream, read],
            timeout=BLOCK_MS / 1000 + REPLY_MARGIN,
        )
        return reply[0][1] if reply else []

    async def _check(
        self,
        connection: AbstractConnection,
        place: Cursor,
        *,
        prev: Position | None = None,
        read: str | None = None,
    ) -> Gap | None:
        """Whether the log still holds what was read at `place`, and what was acknowledged.

        If it lost any of it, its epoch ends here: what cursors of that epoch mean is not known.
        `prev` is what the next entry names as its predecessor. `read` is where a read brought
        nothing: if the log says that there is more and still gives nothing, that was trimmed.
        """
        ask = script.state(self._keys, acks.here.mark(self._identity))
        state = script.read_state(await self._converse(connection, ask, timeout=self._timeout))
        if state.epoch != place.epoch:
            return Gap(ResetReason.LOG_LOST)
        lost = state.position < place.position or (prev is not None and prev < place.position)
        if not lost:
            more = read is not None and state.position > place.position
            trimmed = more and not await self._xread(connection, str(read), block=False)
            return Gap(ResetReason.TRIMMED) if trimmed else None
        call = script.end(self._keys, state.epoch)
        await self._converse(connection, call, timeout=self._timeout)
        return Gap(ResetReason.LOG_LOST)

    async def _check_eviction(self, connection: AbstractConnection) -> None:
        """A Redis that evicts keys when it is full will evict the log: say so, each time."""
        try:
            info = await self._converse(connection, ["INFO", "memory"], timeout=self._timeout)
        except ResponseError:
            return  # a hosted Redis may not tell
        if (policy := script.eviction_policy(info)) != "noeviction":
            logger.error(
                "log.eviction policy=%s: this Redis may evict the log, which resets every stream. "
                "Set maxmemory-policy to noeviction.",
                policy,
            )

    async def _ask(
        self, call: Sequence[Any], *, timeout: float | None = None, copies: bool = False
    ) -> Any:
        """One call on a connection of the pool. Raises `Unavailable`, and when it is known, how.

        With `copies`, as many replicas as the settings want have what it wrote. A node of a cluster
        that sends us elsewhere has done nothing, so it is said again.
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
                        wait_ms = int(timeout * 800) if copies and self._replicas else 0
                        return await self._copied(connection, call, wait_ms)
                    except REDIRECTED:
                        sent = False
                    finally:
                        await self._pool.release(connection)
                    await asyncio.sleep(FIRST_PAUSE)
        except AWAY as error:
            raise script.unavailable(error, sent=sent) from error

    async def _copied(self, connection: AbstractConnection, call: Sequence[Any], ms: int) -> Any:
        reply = await _say(connection, call)
        if ms:
            confirmed = await _say(connection, ["WAIT", self._replicas, ms])
            script.check_copies(confirmed, self._replicas)
        return reply

    async def _vet(self, connection: AbstractConnection) -> None:
        """Before a new connection is used: what it leads to may be older than what was kept."""
        if connection in self._vetted:
            return
        mark = acks.here.mark(self._identity)
        if mark is not None:
            call = script.state(self._keys, mark)
            await _say(connection, call)
        connection.register_connect_callback(self._connected)
        self._vetted.add(connection)

    def _connected(self, connection: AbstractConnection) -> None:
        self._vetted.discard(connection)

    async def _converse(
        self, connection: AbstractConnection, call: Sequence[Any], *, timeout: float
    ) -> Any:
        async with asyncio.timeout(timeout):
            return await _say(connection, call)


async def _say(connection: AbstractConnection, call: Sequence[Any]) -> Any:
    """Say it, and return what is answered, however long that takes."""
    try:
        await _send(connection, call)
        return await connection.read_response()
    except NoScriptError:
        await _send(connection, script.as_eval(call))
        return await connection.read_response()
    except ELSEWHERE:
        # It was the master, and another is now, perhaps at the same address.
        await connection.disconnect()
        raise


async def _send(connection: AbstractConnection, call: Sequence[Any]) -> None:
    try:
        # redis-py's own way to pack a command takes several times as long.
        await connection.send_packed_command(pack_command(tuple(call)))
    except (AttributeError, RuntimeError) as error:
        # What `writelines` of asyncio and of uvloop raise where the connection has just been lost.
        raise ConnectionError("The connection was lost.") from error
