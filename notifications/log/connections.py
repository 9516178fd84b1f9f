"""Pools of connections to the log, which discover its address if Sentinel or a cluster has it.

Everything of redis-py that is private or undocumented is used in this module alone.
"""

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from hiredis import pack_command
from redis import asyncio as aio
from redis.asyncio import connection as aio_connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import (
    AbstractConnection,
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    parse_url,
)
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from notifications.conf import redis_url
from notifications.log.discovery import Discovery
from notifications.log.script import Command, Keys, as_eval

type AsyncConnection = aio_connection.AbstractConnection
type SyncConnection = AbstractConnection

UNAVAILABLE_ERRORS = (RedisError, OSError, TimeoutError)
"""What redis-py and its sockets raise when the server cannot be reached or does not answer."""
LOG_MOVED_ERRORS = (ReadOnlyError, MovedError, ClusterDownError)
"""This server does not have the log any more: drop the connection, and discover the log again."""
REDIRECTED_ERRORS = (MovedError, AskError, TryAgainError)
"""Another node of the cluster has the log, or is about to get it. The command had no effect."""
REDIRECTED_PAUSE_SECONDS = 0.02
QUERY_TIMEOUT_SECONDS = 2.0
"""For all servers that are asked for the log's address, if no connect timeout is set."""


class Vetting:
    """Which connections have been vetted. A connection that reconnects must be vetted again."""

    def __init__(self) -> None:
        self._vetted = WeakSet[Any]()

    def has(self, connection: AsyncConnection | SyncConnection) -> bool:
        return connection in self._vetted

    def add(self, connection: AsyncConnection | SyncConnection) -> None:
        connection.register_connect_callback(self._forget)  # type: ignore[no-untyped-call]
        self._vetted.add(connection)

    def _forget(self, connection: AsyncConnection | SyncConnection) -> None:
        self._vetted.discard(connection)


async def roundtrip(connection: AsyncConnection, command: Command) -> Any:
    """Send one command and return its reply. The caller bounds the time that this takes."""
    try:
        await _send(connection, command)
        return await connection.read_response()
    except NoScriptError:
        await _send(connection, as_eval(command))
        return await connection.read_response()
    except LOG_MOVED_ERRORS:
        # The server was the master, and another is now, perhaps at the same address.
        await connection.disconnect()
        raise


async def bounded_roundtrip(
    connection: AsyncConnection, command: Command, *, timeout: float
) -> Any:
    """`roundtrip` within a timeout in seconds."""
    async with asyncio.timeout(timeout):
        return await roundtrip(connection, command)


async def _send(connection: AsyncConnection, command: Command) -> None:
    try:
        # redis-py's own way to pack a command takes several times as long.
        await connection.send_packed_command(pack_command(tuple(command)))
    except (AttributeError, RuntimeError) as error:
        # `writelines` of asyncio and of uvloop raise these if the connection has just been lost.
        raise ConnectionError("The connection was lost.") from error


def sync_roundtrip(connection: SyncConnection, command: Command, *, timeout: float) -> Any:
    """`bounded_roundtrip` for synchronous code."""
    try:
        connection.send_command(*command)
        return connection.read_response(timeout=timeout)
    except NoScriptError:
        connection.send_command(*as_eval(command))
        return connection.read_response(timeout=timeout)
    except LOG_MOVED_ERRORS:
        connection.disconnect()
        raise


class DiscoveringConnection(aio_connection.Connection):
    """Connects to the log's address, which it discovers first."""

    query_class: type[aio_connection.Connection] = aio_connection.Connection

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        self._discovery = discovery
        super().__init__(**options)

    async def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self._discovery.address:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        self.host, self.port = await self._discover()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        reply = await super().read_response(*args, **options)
        self._discovery.check_address(self.host, self.port)
        return reply

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health=check_health)
        if self._discovery.is_sentinel:
            with suppress(ResponseError):  # Redis may not allow this user to run ROLE.
                await self.send_command("ROLE")
                self._discovery.check_role(await self.read_response())

    async def _discover(self) -> redis_url.Address:
        failure: BaseException | None = None
        for server in self._discovery.candidates():
            try:
                return await self._query(server)
            except UNAVAILABLE_ERRORS as error:
                failure = error
        raise self._discovery.failure(failure)

    async def _query(self, server: redis_url.Address) -> redis_url.Address:
        options = _options(self._discovery.query_url, server)
        connection = self.query_class(**options, protocol=2, retry=AsyncRetry(NoBackoff(), 0))
        try:
            async with asyncio.timeout(_query_timeout(self.socket_connect_timeout)):
                await connection.connect()
                await connection.send_command(*self._discovery.query)
                return self._discovery.read_reply(server, await connection.read_response())
        finally:
            await connection.disconnect(nowait=True)


class DiscoveringTLSConnection(DiscoveringConnection, aio_connection.SSLConnection):
    query_class = aio_connection.SSLConnection


class DiscoveringSyncConnection(Connection):
    """`DiscoveringConnection` for synchronous code."""

    query_class: type[Connection] = Connection

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        self._discovery = discovery
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self._discovery.address:
            self.disconnect()  # type: ignore[no-untyped-call]
        super().connect()  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self.host, self.port = self._discover()
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        reply = super().read_response(*args, **options)
        self._discovery.check_address(self.host, self.port)
        return reply

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health=check_health)
        if self._discovery.is_sentinel:
            with suppress(ResponseError):
                self.send_command("ROLE")  # type: ignore[no-untyped-call]
                self._discovery.check_role(self.read_response())

    def _discover(self) -> redis_url.Address:
        failure: BaseException | None = None
        for server in self._discovery.candidates():
            try:
                return self._query(server)
            except UNAVAILABLE_ERRORS as error:
                failure = error
        raise self._discovery.failure(failure)

    def _query(self, server: redis_url.Address) -> redis_url.Address:
        timeout = _query_timeout(self.socket_connect_timeout)
        connection = self.query_class(
            **_options(self._discovery.query_url, server),
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
        try:
            connection.connect()
            connection.send_command(*self._discovery.query)
            return self._discovery.read_reply(server, connection.read_response())
        finally:
            connection.disconnect()


class DiscoveringSyncTLSConnection(DiscoveringSyncConnection, SSLConnection):
    query_class = SSLConnection


def _query_timeout(connect_timeout: float | None) -> float:
    """Seconds for one server that is asked, so that there is time to ask others."""
    return (connect_timeout or QUERY_TIMEOUT_SECONDS) / 4


def _options(url: str, address: redis_url.Address) -> dict[str, Any]:
    """redis-py's options for a URL, with another address."""
    options: dict[str, Any] = {**parse_url(url), "host": address[0], "port": address[1]}
    options.pop("connection_class", None)
    return options


def async_pool(url: str, *, prefix: str, **options: Any) -> aio.BlockingConnectionPool:
    """`url` is a `REDIS_URL`; `options` are redis-py's."""
    parsed = redis_url.parse(url)
    if parsed.kind == "server":
        return aio.BlockingConnectionPool.from_url(url, **options)
    return aio.BlockingConnectionPool(
        connection_class=DiscoveringTLSConnection if parsed.is_tls else DiscoveringConnection,
        **options | _discovery_options(parsed, prefix),
    )


def sync_pool(url: str, *, prefix: str, **options: Any) -> BlockingConnectionPool:
    """`async_pool` for synchronous code."""
    parsed = redis_url.parse(url)
    if parsed.kind == "server":
        return BlockingConnectionPool.from_url(url, **options)
    return BlockingConnectionPool(
        connection_class=(
            DiscoveringSyncTLSConnection if parsed.is_tls else DiscoveringSyncConnection
        ),
        **options | _discovery_options(parsed, prefix),
    )


def _discovery_options(url: redis_url.RedisUrl, prefix: str) -> dict[str, Any]:
    slot = key_slot(Keys(prefix).stream.encode())
    return _options(url.server, url.addresses[0]) | {"discovery": Discovery(url, slot)}
