"""redis-py's connections to the log, whose address Sentinel or a cluster may have, in pools.

What `calls.py` writes once ends here: redis-py has each class twice. Everything of redis-py that is
private or undocumented is used in this module alone, but for the hash in `discovery.py`.

Discovery is ours, because redis-py's Sentinel pool believes a master that hung and was replaced,
which loses acknowledged events, and its cluster client raises where a pool would wait.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from hiredis import pack_command
from redis import connection as threads
from redis.asyncio import connection as loops
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from notifications.conf import redis_url
from notifications.conf.redis_url import Address
from notifications.log.calls import run
from notifications.log.discovery import Discovery
from notifications.log.outcomes import UNAVAILABLE_ERRORS
from notifications.log.pool import Pool
from notifications.log.script import Command

type AsyncConnection = loops.Connection
type SyncConnection = threads.Connection

# The log decides whether to repeat a read or an append; redis-py must not.
OPTIONS: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
ASYNC_OPTIONS: dict[str, Any] = {"protocol": 2, "retry": AsyncRetry(NoBackoff(), 0)}


async def send(connection: AsyncConnection, command: Command) -> None:
    try:
        # redis-py's own way to pack a command takes several times as long.
        await connection.send_packed_command(pack_command(tuple(command)))
    except (AttributeError, RuntimeError) as error:
        # `writelines` of asyncio and of uvloop raise these if the connection has just been lost.
        raise ConnectionError("The connection was lost.") from error


class DiscoveringConnection(loops.Connection):
    """Connects to the log's address, which it discovers first."""

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        self._discovery = discovery
        super().__init__(**options)

    async def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self._discovery.address:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            timeout = self.socket_connect_timeout
            self.host, self.port = await self._discovery.find(self._ask, timeout)
        await super().connect()  # type: ignore[no-untyped-call]

    async def _ask(self, server: Address, timeout: float) -> Any:
        url = loops.parse_url(self._discovery.query_url)
        connection_class, options = _at(server, url, loops.Connection)
        connection = connection_class(**options | ASYNC_OPTIONS)
        try:
            async with asyncio.timeout(timeout):
                await connection.connect()
                await send(connection, self._discovery.query)
                return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)


class DiscoveringTLSConnection(DiscoveringConnection, loops.SSLConnection): ...


class DiscoveringSyncConnection(threads.Connection):
    """`DiscoveringConnection` for synchronous code."""

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        self._discovery = discovery
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self._discovery.address:
            self.disconnect()  # type: ignore[no-untyped-call]
        if not self.is_connected:
            timeout = self.socket_connect_timeout
            self.host, self.port = run(self._discovery.find(self._ask, timeout))
        super().connect()  # type: ignore[no-untyped-call]

    async def _ask(self, server: Address, timeout: float) -> Any:
        url = threads.parse_url(self._discovery.query_url)
        connection_class, options = _at(server, url, threads.Connection)
        options |= {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        connection = connection_class(**options | OPTIONS)
        try:
            connection.connect()
            connection.send_command(*self._discovery.query)
            return connection.read_response()
        finally:
            connection.disconnect()


class DiscoveringSyncTLSConnection(DiscoveringSyncConnection, threads.SSLConnection): ...


def _at(server: Address, url: Mapping[str, Any], plain: type) -> tuple[type, dict[str, Any]]:
    """The class and the options of a connection to a server, by redis-py's reading of a URL."""
    options = {**url, "host": server[0], "port": server[1]}
    return options.pop("connection_class", plain), options


class LoopPool(Pool[AsyncConnection]):
    """For an event loop."""

    def __init__(
        self,
        make: Callable[[], AsyncConnection],
        *,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(make, limit=limit, clock=clock)
        self._lock = nullcontext()
        self._waiting = deque[asyncio.Future[None]]()

    async def _connect(self, connection: AsyncConnection) -> None:
        await connection.connect()
        try:
            # `can_read` notices a connection that was closed, but not one that was reset.
            writer = connection._writer  # noqa: SLF001
            is_open = writer is not None and not writer.is_closing()
            is_clean = is_open and not await connection.can_read()
        except UNAVAILABLE_ERRORS:
            is_clean = False
        if not is_clean:
            await connection.disconnect()
            await connection.connect()

    async def _disconnect(self, connection: AsyncConnection) -> None:
        await connection.disconnect()

    async def _wait(self, seconds: float) -> None:
        released = asyncio.get_running_loop().create_future()
        self._waiting.append(released)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await released
        except BaseException:
            self._wake()
            raise
        finally:
            if released in self._waiting:
                self._waiting.remove(released)

    def _wake(self) -> None:
        while self._waiting:
            released = self._waiting.popleft()
            if not released.done():  # it is done if its task was cancelled a moment ago
                released.set_result(None)
                return


class ThreadsPool(Pool[SyncConnection]):
    """For threads. A timer closes what idles, because nothing else need happen in a process."""

    def __init__(self, make: Callable[[], SyncConnection], *, limit: int) -> None:
        super().__init__(make, limit=limit)

    def _clear(self) -> None:
        super()._clear()
        self._lock = self._changed = threading.Condition()
        self._timer: threading.Timer | None = None

    async def _connect(self, connection: SyncConnection) -> None:
        connection.connect()
        try:
            is_clean = not connection.can_read()
        except UNAVAILABLE_ERRORS:
            is_clean = False
        if not is_clean:
            connection.disconnect()
            connection.connect()

    async def _disconnect(self, connection: SyncConnection) -> None:
        connection.disconnect()

    async def _wait(self, seconds: float) -> None:
        self._changed.wait(seconds)

    def _wake(self) -> None:
        self._changed.notify()

    async def release(self, connection: SyncConnection) -> None:
        await super().release(connection)
        if self._timer is None or not self._timer.is_alive():
            self._start_timer()

    def _start_timer(self) -> None:
        if len(self._idle) > 1:
            self._timer = threading.Timer(self._idle_seconds, self._close_idle)
            self._timer.daemon = True
            self._timer.start()

    def _close_idle(self) -> None:
        run(self.close_idle())
        self._start_timer()


def async_maker(
    url: str,
    discovery: Discovery | None,
    greet: Callable[[AsyncConnection], Awaitable[None]],
    **options: Any,
) -> Callable[[], AsyncConnection]:
    """Makes connections. `greet` checks a server at each new one; `options` are redis-py's."""

    async def on_connect(connection: AsyncConnection) -> None:
        await connection.on_connect()
        await greet(connection)

    options |= ASYNC_OPTIONS | {"redis_connect_func": on_connect}
    if discovery is None:
        parsed = loops.parse_url(redis_url.parse(url).server)
        connection_class: Any = parsed.pop("connection_class", loops.Connection)
        return partial(connection_class, **parsed | options)
    return partial(
        DiscoveringTLSConnection if discovery.url.is_tls else DiscoveringConnection,
        **options | _discovery_options(discovery),
    )


def sync_maker(
    url: str,
    discovery: Discovery | None,
    greet: Callable[[SyncConnection], None] = lambda _: None,
    **options: Any,
) -> Callable[[], SyncConnection]:
    """`async_maker` for synchronous code."""

    def on_connect(connection: SyncConnection) -> None:
        connection.on_connect()
        greet(connection)

    options |= OPTIONS | {"redis_connect_func": on_connect}
    if discovery is None:
        parsed = threads.parse_url(redis_url.parse(url).server)
        connection_class: Any = parsed.pop("connection_class", threads.Connection)
        return partial(connection_class, **parsed | options)
    return partial(
        DiscoveringSyncTLSConnection if discovery.url.is_tls else DiscoveringSyncConnection,
        **options | _discovery_options(discovery),
    )


def _discovery_options(discovery: Discovery) -> dict[str, Any]:
    url = threads.parse_url(discovery.url.server)
    _, options = _at(discovery.url.addresses[0], url, threads.Connection)
    return options | {"discovery": discovery}
