"""The connections of a process to the log: few, and the sound ones are used.

redis-py's pool is a stack, and a connection that failed to connect comes back on top of it. Where a
server refuses more clients (`maxclients`, the limit of a plan), such a pool fails every call from
then on, above sound connections that idle. Here a connection that fails is dropped, and its caller
gets one that others are done with. Surplus connections are closed once they have idled.

Written once for event loops and for threads, as `calls.py`.
"""

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from redis.exceptions import ConnectionError as ConnectionFailed

from notifications.log.outcomes import UNAVAILABLE_ERRORS

IDLE_SECONDS = 10.0
"""How long a connection idles before it is closed; the last one that idles stays."""
REFUSED_PAUSE_SECONDS = 0.5
"""How often one connection is tried after one failed, if there are others to wait for meanwhile."""

NONE_FREE = "no connection is free: raise CARILLON_REDIS_CONNECTIONS"


class Pooled(Protocol):
    @property
    def is_connected(self) -> bool: ...


class Pool[Connection: Pooled](ABC):
    """At most `limit` connections, which `make` makes and which connect when they are acquired."""

    def __init__(
        self,
        make: Callable[[], Connection],
        *,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._limit = limit
        self._idle_seconds = IDLE_SECONDS
        self._clock = clock
        self._pid = os.getpid()
        self._clear()

    def _clear(self) -> None:
        self._open = set[Connection]()
        self._lasting = set[Connection]()
        self._idle: list[tuple[Connection, float]] = []  # the one that was used last is at the end
        self._refused_until = 0.0

    # What a subclass has

    _lock: AbstractContextManager[object]

    @abstractmethod
    async def _connect(self, connection: Connection) -> None:
        """Connect, unless the connection is connected and has nothing to read."""

    @abstractmethod
    async def _disconnect(self, connection: Connection) -> None: ...

    @abstractmethod
    async def _wait(self, seconds: float) -> None:
        """Wait for `_wake`, at most so long. The lock is held, but not while this waits."""

    @abstractmethod
    def _wake(self) -> None:
        """Wake one that waits. The lock is held."""

    # The pool

    async def acquire(self, seconds: float, *, lasting: bool = False) -> Connection:
        """A connection that is connected. `lasting`: its caller keeps it, so nobody waits for it.

        If no connection can be made and no other caller has any, raises what connecting raised.
        """
        if self._pid != os.getpid():  # a forked process must not write to its parent's connections
            self._clear()
            self._pid = os.getpid()  # only now: another thread would take those as its own
        deadline = self._clock() + seconds
        failure: Exception | None = None
        while True:
            connection = await self._reserve(deadline, failure)
            is_new = not connection.is_connected
            try:
                await self._connect(connection)
            except UNAVAILABLE_ERRORS as error:
                failure = error
                self._refused_until = self._clock() + REFUSED_PAUSE_SECONDS
                await self._discard(connection)
            except BaseException:
                await self._discard(connection)
                raise
            else:
                if is_new:
                    self._accepted()
                if lasting:
                    self._lasting.add(connection)
                return connection

    async def _reserve(self, deadline: float, failure: Exception | None) -> Connection:
        """A connection that need not be connected, as soon as there may be one.

        `failure`: why the one before it, if any, did not connect.
        """
        with self._lock:
            if failure is not None and not self._others:
                raise failure
            while (connection := self._take()) is None:
                now = self._clock()
                if now >= deadline:
                    self._wake()  # what woke this one is for another
                    raise failure or ConnectionFailed(NONE_FREE)
                await self._wait(min(deadline, self._next_try) - now)
            return connection

    def _accepted(self) -> None:
        """The server accepts connections: let one that waits make its own, and so on."""
        with self._lock:
            self._refused_until = 0.0
            self._wake()

    @property
    def _others(self) -> bool:
        """Whether there are connections that idle, or will be released."""
        return len(self._open) > len(self._lasting)

    @property
    def _next_try(self) -> float:
        """When there may be a new connection although none has been released."""
        return math.inf if len(self._open) >= self._limit else self._refused_until

    def _take(self) -> Connection | None:
        """An idle connection, or a new one if there may be more."""
        if self._idle:
            return self._idle.pop()[0]
        now = self._clock()
        if len(self._open) >= self._limit or (self._others and now < self._refused_until):
            return None
        if self._refused_until:
            self._refused_until = now + REFUSED_PAUSE_SECONDS  # the others wait for how this ends
        connection = self._make()
        self._open.add(connection)
        return connection

    async def release(self, connection: Connection) -> None:
        if not connection.is_connected:
            await self._discard(connection)
            return
        with self._lock:
            self._lasting.discard(connection)
            if connection in self._open:
                self._idle.append((connection, self._clock()))
                self._wake()

    async def _discard(self, connection: Connection) -> None:
        with self._lock:
            self._open.discard(connection)
            self._lasting.discard(connection)
            self._wake()
        with suppress(*UNAVAILABLE_ERRORS):
            await self._disconnect(connection)

    async def close_idle(self) -> None:
        """Close the connections that have idled, but for one, so that a call finds a connection."""
        while True:
            with self._lock:
                before = self._clock() - self._idle_seconds
                if len(self._idle) < 2 or self._idle[0][1] > before:
                    return
                connection, _ = self._idle.pop(0)
            await self._discard(connection)

    async def close(self) -> None:
        """Close all, in use or not."""
        for connection in list(self._open):
            await self._discard(connection)
        self._clear()
