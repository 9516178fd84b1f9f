"""The Redis log for synchronous code."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakSet

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError
from redis.retry import Retry

from notifications.errors import Unavailable
from notifications.log import acks, script
from notifications.log.acks import AppendRetry
from notifications.log.base import Appender, Batch, Control, Draft, Receipt, Retention
from notifications.log.connections import AWAY, ELSEWHERE, REDIRECTED, REDIRECTED_PAUSE, pool
from notifications.log.cursors import Cursor, Position, format_position
from notifications.log.reader import Raw, Reader, ReadSize

# More threads than this wait for each other.
MAX_CONNECTIONS = 64


class RedisAppender(Appender):
    """Connects when it is first used; redis-py's pool is safe between threads and after a fork."""

    def __init__(
        self, url: str, *, prefix: str, retention: Retention, timeout: float, replicas: int = 0
    ) -> None:
        self._keys = script.Keys(prefix)
        self._retention = retention
        self._timeout = timeout
        self._replicas = replicas
        self._identity = f"{url}#{prefix}"
        self._vetted = WeakSet[AbstractConnection]()
        self._pool = pool(
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
        call = script.append(self._keys, self._retention, drafts, touch=bool(self._replicas))
        before = acks.here.mark(self._identity)
        attempts = AppendRetry(call, before=before, timeout=self._timeout)
        while True:
            try:
                reply = self._ask(attempts.call, timeout=attempts.left, copies=True)
                receipts = script.read_receipts(reply, drafts)
                break
            except Unavailable as error:
                time.sleep(attempts.pause_after(error))
        acks.here.note(self._identity, receipts)
        return receipts

    def command(self, control: Control) -> Cursor:
        call = script.control(self._keys, self._retention, control)
        return script.read_state(self._ask(call, timeout=self._timeout))

    def release(self, keys: Sequence[str], *, after: int) -> None:
        self._ask(script.release(self._keys, keys, after=after), timeout=self._timeout)

    def state(self) -> Cursor:
        return script.read_state(self._ask(script.state(self._keys), timeout=self._timeout))

    def read(self, *, after: Position, until: Position) -> Iterator[Batch]:
        reader = Reader()
        last, end = format_position(after), format_position(until)
        read_size = ReadSize()
        while True:
            call = ["XRANGE", self._keys.stream, f"({last}", end, "COUNT", read_size.count]
            raw: list[Raw] = self._ask(call, timeout=self._timeout)
            yield from reader.batch(raw)
            if len(raw) < read_size.count:
                return
            read_size.took(raw)
            last = raw[-1][0].decode()

    def close(self) -> None:
        self._pool.disconnect()

    def _ask(self, call: Sequence[Any], *, timeout: float, copies: bool = False) -> Any:
        """As `RedisLog` asks."""
        sent = False
        until = time.monotonic() + timeout
        try:
            while True:
                connection = self._pool.get_connection()
                try:
                    self._vet(connection)
                    sent = True
                    return self._said(connection, call, timeout=timeout, copies=copies)
                except REDIRECTED:
                    sent = False
                    if time.monotonic() >= until:
                        raise
                finally:
                    self._pool.release(connection)
                time.sleep(REDIRECTED_PAUSE)
        except AWAY as error:
            raise script.unavailable(error, sent=sent) from error

    def _said(
        self, connection: AbstractConnection, call: Sequence[Any], *, timeout: float, copies: bool
    ) -> Any:
        reply = _converse(connection, call, timeout=timeout)
        if copies and self._replicas:
            wait = ["WAIT", self._replicas, int(timeout * 800)]
            confirmed = _converse(connection, wait, timeout=timeout + 1)
            script.check_copies(confirmed, self._replicas)
        return reply

    def _vet(self, connection: AbstractConnection) -> None:
        """As `RedisLog` does."""
        if connection in self._vetted:
            return
        mark = acks.here.mark(self._identity)
        if mark is not None:
            _converse(connection, script.state(self._keys, mark), timeout=self._timeout)
        connection.register_connect_callback(self._connected)
        self._vetted.add(connection)

    def _connected(self, connection: AbstractConnection) -> None:
        self._vetted.discard(connection)


def _converse(connection: AbstractConnection, call: Sequence[Any], *, timeout: float) -> Any:
    try:
        connection.send_command(*call)
        return connection.read_response(timeout=timeout)
    except NoScriptError:
        connection.send_command(*script.as_eval(call))
        return connection.read_response(timeout=timeout)
    except ELSEWHERE:
        connection.disconnect()
        raise
