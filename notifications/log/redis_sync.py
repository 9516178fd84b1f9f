"""The log in a Redis or Valkey stream, for synchronous code: `RedisCalls` on threads."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from hiredis import pack_command

from notifications.log.base import SyncLog
from notifications.log.calls import RedisCalls, run
from notifications.log.connections import SyncConnection, ThreadsPool, sync_maker
from notifications.log.cursors import START, Cursor, Position
from notifications.log.entries import Batch, ControlEntry, Draft, Receipt
from notifications.log.groups import ThreadGroups
from notifications.log.reader import ReadSize
from notifications.log.script import Command

UNBOUNDED = nullcontext()


class BlockingCalls(RedisCalls[SyncConnection]):
    """Each coroutine blocks its thread, and none waits for an event loop."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        make = sync_maker(
            url,
            self._discovery,
            lambda connection: run(self._greet(connection)),
            socket_timeout=self._options.timeout,
            socket_connect_timeout=self._options.timeout,
        )
        self._pool = ThreadsPool(make, limit=self._options.max_connections)
        self._groups = ThreadGroups(self._append, self._options.timeout)

    def close(self) -> None:
        run(self._pool.close())

    async def _acquire(self, seconds: float) -> SyncConnection:
        return await self._pool.acquire(seconds)

    async def _release(self, connection: SyncConnection) -> None:
        await self._pool.release(connection)

    async def _drop(self, connection: SyncConnection) -> None:
        connection.disconnect()

    async def _exchange(self, connection: SyncConnection, command: Command, timeout: float) -> Any:
        # redis-py's own way takes twice as long, as in `connections.send`.
        connection.send_packed_command([pack_command(tuple(command))])
        return connection.read_response(timeout=timeout)

    def _within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return UNBOUNDED

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks its thread


class RedisSyncLog(SyncLog):
    """Connects at its first use; redis-py's pool is safe between threads and after a fork.

    `options` are the fields of `CallOptions`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._calls = BlockingCalls(url, **options)

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return run(self._calls.append(drafts))

    def append_control(self, control: ControlEntry) -> Cursor:
        return run(self._calls.append_control(control))

    def release(self, keys: Sequence[str], *, seconds: int) -> None:
        run(self._calls.release(keys, seconds=seconds))

    def reports(self) -> list[str]:
        return run(self._calls.reports())

    def state(self) -> Cursor:
        return run(self._calls.state())

    def state_before(self, moment: float) -> Cursor | None:
        return run(self._calls.state_before(moment))

    def read(self, *, until: Position, after: Position = START) -> Iterator[Batch]:
        pages = self._calls.pages(after, until, ReadSize())
        while not pages.is_over:
            yield from pages.batches(run(self._calls.call(pages.command)))

    def close(self) -> None:
        self._calls.close()
