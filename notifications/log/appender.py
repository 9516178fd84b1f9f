"""The way into the Redis log for synchronous code."""

from collections.abc import Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool
from redis.exceptions import NoScriptError
from redis.retry import Retry

from notifications.cursors import Cursor
from notifications.log import commands
from notifications.log.base import Appender, Control, Draft, Receipt, Retention
from notifications.log.redis import AWAY, unavailable

# More threads than this wait for each other.
MAX_CONNECTIONS = 64


class RedisAppender(Appender):
    """Connects when it is first used; redis-py's pool is safe between threads and after a fork."""

    def __init__(self, url: str, *, prefix: str, retention: Retention, timeout: float) -> None:
        self._keys = commands.Keys(prefix)
        self._retention = retention
        self._identity = f"{url}#{prefix}"
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        call = commands.append(self._keys, self._retention, drafts)
        receipts = commands.read_receipts(self._ask(call), drafts)
        commands.acknowledged.note(self._identity, receipts)
        return receipts

    def command(self, control: Control) -> Cursor:
        call = commands.control(self._keys, self._retention, control)
        return commands.read_state(self._ask(call))

    def close(self) -> None:
        self._pool.disconnect()

    def _ask(self, call: Sequence[Any]) -> Any:
        sent = False
        try:
            connection = self._pool.get_connection()
            try:
                sent = True
                connection.send_command(*call)
                try:
                    return connection.read_response()
                except NoScriptError:
                    connection.send_command(*commands.as_eval(call))
                    return connection.read_response()
            finally:
                self._pool.release(connection)
        except AWAY as error:
            raise unavailable(error, sent=sent) from error
