"""The log in a Redis or Valkey stream, for synchronous code."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from notifications.errors import Unavailable
from notifications.log import acks, script
from notifications.log.acks import AppendRetry, HighWaterMarks
from notifications.log.backoff import Uniform
from notifications.log.base import SyncLog
from notifications.log.connections import (
    REDIRECTED_ERRORS,
    REDIRECTED_PAUSE_SECONDS,
    UNAVAILABLE_ERRORS,
    SyncConnection,
    Vetting,
    sync_pool,
    sync_roundtrip,
)
from notifications.log.cursors import START, Cursor, Position, format_position, parse_position
from notifications.log.entries import Batch, ControlEntry, Draft, Receipt, Retention
from notifications.log.reader import Raw, Reader, ReadSize
from notifications.log.script import SLACK, Command, Slack

MAX_CONNECTIONS = 64
"""Further threads wait until a connection is free."""
WAIT_MARGIN_SECONDS = 1.0


class RedisSyncLog(SyncLog):
    """Connects at its first use; redis-py's pool is safe between threads and after a fork."""

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
        clock: Callable[[], float] = time.monotonic,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._keys = script.Keys(prefix)
        self._retention = retention
        self._timeout = timeout
        self._replicas = replicas
        self._slack = slack
        self._marks = marks
        self._clock = clock
        self._uniform = uniform
        self._identity = f"{url}#{prefix}"
        self._vetting = Vetting()
        self._pool = sync_pool(
            url,
            prefix=prefix,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        if not drafts:
            return []
        touch = bool(self._replicas)
        retry = AppendRetry(
            script.append(self._keys, self._retention, drafts, touch=touch, slack=self._slack),
            before=self._marks.mark(self._identity),
            timeout=self._timeout,
            clock=self._clock,
            uniform=self._uniform,
        )
        while True:
            try:
                reply = self._call(retry.command, timeout=retry.remaining, replicas=self._replicas)
                receipts = script.read_receipts(reply, drafts)
                break
            except Unavailable as error:
                time.sleep(retry.pause_after(error))
        self._marks.note(self._identity, receipts)
        return receipts

    def append_control(self, control: ControlEntry) -> Cursor:
        command = script.control(self._keys, self._retention, control, slack=self._slack)
        return script.read_state(self._call(command))

    def release(self, keys: Sequence[str], *, seconds: int) -> None:
        self._call(script.release(self._keys, keys, seconds=seconds))

    def state(self) -> Cursor:
        return script.read_state(self._call(script.state(self._keys)))

    def read(self, *, until: Position, after: Position = START) -> Iterator[Batch]:
        reader = Reader()
        position, end = after, format_position(until)
        read_size = ReadSize()
        while True:
            raw: list[Raw] = self._call(
                [
                    "XRANGE",
                    self._keys.stream,
                    f"({format_position(position)}",
                    end,
                    "COUNT",
                    read_size.count,
                ]
            )
            yield from reader.batch(raw, position)
            if len(raw) < read_size.count:
                return
            read_size.adapt(raw)
            position = parse_position(raw[-1][0])

    def close(self) -> None:
        self._pool.disconnect()

    def _call(self, command: Command, *, timeout: float | None = None, replicas: int = 0) -> Any:
        """As `RedisLog._call`."""
        timeout = self._timeout if timeout is None else timeout
        sent = False
        deadline = self._clock() + timeout
        try:
            while True:
                connection = self._pool.get_connection()
                try:
                    self._vet(connection)
                    sent = True
                    return _call_with_wait(connection, command, timeout, replicas)
                except REDIRECTED_ERRORS:
                    sent = False
                    if self._clock() >= deadline:
                        raise
                finally:
                    self._pool.release(connection)
                time.sleep(REDIRECTED_PAUSE_SECONDS)
        except UNAVAILABLE_ERRORS as error:
            raise script.unavailable(error, sent=sent) from error

    def _vet(self, connection: SyncConnection) -> None:
        """As `RedisLog._vet`."""
        if self._vetting.has(connection):
            return
        mark = self._marks.mark(self._identity)
        if mark is not None:
            sync_roundtrip(connection, script.state(self._keys, mark), timeout=self._timeout)
        self._vetting.add(connection)


def _call_with_wait(
    connection: SyncConnection, command: Command, timeout: float, replicas: int
) -> Any:
    reply = sync_roundtrip(connection, command, timeout=timeout)
    if replicas:
        confirmed = sync_roundtrip(
            connection, script.wait(replicas, timeout), timeout=timeout + WAIT_MARGIN_SECONDS
        )
        script.check_replicas(confirmed, replicas)
    return reply
