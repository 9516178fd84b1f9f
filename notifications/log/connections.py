"""Pools of connections to the log, which seek it first where Sentinel or a cluster has it."""

import asyncio
from contextlib import suppress
from typing import Any

from redis import asyncio as aio
from redis.asyncio import connection as aio_connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, Connection, SSLConnection, parse_url
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from notifications.conf import redis_url
from notifications.log.discovery import Discovery

# What redis-py and the sockets below it raise when the server is away.
AWAY = (RedisError, OSError, TimeoutError)
# The log is not here, or not any more: the connection is to be dropped, and the log sought.
ELSEWHERE = (ReadOnlyError, MovedError, ClusterDownError)
# It is at another node of the cluster, or on its way there. Nothing was done.
REDIRECTED = (MovedError, AskError, TryAgainError)
REDIRECTED_PAUSE = 0.02


class DiscoveringConnection(aio_connection.Connection):
    """Seeks the log, and connects to where it is."""

    asking: type[aio_connection.Connection] = aio_connection.Connection

    def __init__(self, *, discovery: Discovery, **rest: Any) -> None:
        self._discovery = discovery
        super().__init__(**rest)

    async def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self._discovery.found:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        self.host, self.port = await self._seek()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *given: Any, **more: Any) -> Any:
        said = await super().read_response(*given, **more)
        self._discovery.check_place(self.host, self.port)
        return said

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health=check_health)
        if self._discovery.is_sentinel:
            with suppress(ResponseError):  # a user may not be allowed to ask
                await self.send_command("ROLE")
                self._discovery.check_role(await self.read_response())

    async def _seek(self) -> redis_url.Address:
        wrong: BaseException | None = None
        for address in self._discovery.addresses():
            try:
                return await self._ask(address)
            except AWAY as error:
                wrong = error
        raise self._discovery.nowhere(wrong)

    async def _ask(self, address: redis_url.Address) -> redis_url.Address:
        given = _given(self._discovery.whom, address)
        connection = self.asking(**given, protocol=2, retry=AsyncRetry(NoBackoff(), 0))
        try:
            async with asyncio.timeout(_patience(self.socket_connect_timeout)):
                await connection.connect()
                await connection.send_command(*self._discovery.question)
                return self._discovery.answered(address, await connection.read_response())
        finally:
            await connection.disconnect(nowait=True)


class DiscoveringTLSConnection(DiscoveringConnection, aio_connection.SSLConnection):
    asking = aio_connection.SSLConnection


class DiscoveringSyncConnection(Connection):
    """As `DiscoveringConnection`."""

    asking: type[Connection] = Connection

    def __init__(self, *, discovery: Discovery, **rest: Any) -> None:
        self._discovery = discovery
        super().__init__(**rest)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self._discovery.found:
            self.disconnect()  # type: ignore[no-untyped-call]
        super().connect()  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self.host, self.port = self._seek()
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *given: Any, **more: Any) -> Any:
        said = super().read_response(*given, **more)
        self._discovery.check_place(self.host, self.port)
        return said

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health=check_health)
        if self._discovery.is_sentinel:
            with suppress(ResponseError):
                self.send_command("ROLE")  # type: ignore[no-untyped-call]
                self._discovery.check_role(self.read_response())

    def _seek(self) -> redis_url.Address:
        wrong: BaseException | None = None
        for address in self._discovery.addresses():
            try:
                return self._ask(address)
            except AWAY as error:
                wrong = error
        raise self._discovery.nowhere(wrong)

    def _ask(self, address: redis_url.Address) -> redis_url.Address:
        patience = _patience(self.socket_connect_timeout)
        connection = self.asking(
            **_given(self._discovery.whom, address),
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=patience,
            socket_connect_timeout=patience,
        )
        try:
            connection.connect()
            connection.send_command(*self._discovery.question)
            return self._discovery.answered(address, connection.read_response())
        finally:
            connection.disconnect()


class DiscoveringSyncTLSConnection(DiscoveringSyncConnection, SSLConnection):
    asking = SSLConnection


def _patience(timeout: float | None) -> float:
    """For one of those who are asked, so that there is time for others."""
    return (timeout or 2) / 4


def _given(url: str, address: redis_url.Address) -> dict[str, Any]:
    """What redis-py reads in the URL, for another address."""
    given: dict[str, Any] = {**parse_url(url), "host": address[0], "port": address[1]}
    given.pop("connection_class", None)
    return given


def async_pool(url: str, *, prefix: str, **settings: Any) -> aio.BlockingConnectionPool:
    """`url` is a `REDIS_URL`, and `settings` are redis-py's."""
    where = redis_url.parse(url)
    if where.kind != "server":
        tls = where.server.startswith("rediss:")
        settings |= _given(where.server, where.addresses[0])
        settings["discovery"] = Discovery(where, prefix)
        return aio.BlockingConnectionPool(
            connection_class=DiscoveringTLSConnection if tls else DiscoveringConnection, **settings
        )
    return aio.BlockingConnectionPool.from_url(url, **settings)


def pool(url: str, *, prefix: str, **settings: Any) -> BlockingConnectionPool:
    """As `async_pool`, for synchronous code."""
    where = redis_url.parse(url)
    if where.kind != "server":
        tls = where.server.startswith("rediss:")
        settings |= _given(where.server, where.addresses[0])
        settings["discovery"] = Discovery(where, prefix)
        return BlockingConnectionPool(
            connection_class=DiscoveringSyncTLSConnection if tls else DiscoveringSyncConnection,
            **settings,
        )
    return BlockingConnectionPool.from_url(url, **settings)
