"""A time limit for requests that arrive too slowly: half-open connections, or a byte at a time.

Neither server limits by itself how long a request may take to arrive. A request that is being
answered has no limit here, and a connection that is kept alive between two requests is left to the
server's own keep-alive timeout.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from enum import Enum
from weakref import ref

from notifications.conf import get_settings
from notifications.hub.scheduling import TimerWheel

logger = logging.getLogger("carillon")

TICK_SECONDS = 0.5
MIN_BODY_BYTES_PER_SECOND = 500
"""A body that arrives more slowly counts as stalled."""


class Awaited(Enum):
    """What a connection is expected to send next, if not more of a request that has begun."""

    NOTHING = "nothing"
    FIRST_HEAD = "first"
    CLOSED = "gone"
    """The connection is closed."""


type Arrival = Awaited | tuple[int, int]
"""How far the request that a connection sends has arrived: which request, and how many steps of it.

A connection whose `Arrival` is the same at two checks has stalled.
"""


class RequestTimeout[Connection: Hashable]:
    """Gives each head, and each step of a body, `REQUEST_TIMEOUT`, and at most twice that.

    `arrival_of` tells how far a connection's request has arrived, and `abort` closes a connection
    that has stalled. Lives in one event loop. It does not keep a connection that its server has let
    go of.
    """

    def __init__(
        self, arrival_of: Callable[[Connection], Arrival], abort: Callable[[Connection], None]
    ) -> None:
        self._arrival_of = arrival_of
        self._abort = abort
        self._seconds = get_settings().REQUEST_TIMEOUT
        self._timers: TimerWheel[tuple[ref[Connection], Arrival]] = TimerWheel(TICK_SECONDS)
        self._loop = asyncio.get_running_loop()
        # A timer and not a task: Daphne's event loop ends without waiting for tasks.
        self._loop.call_later(TICK_SECONDS, self._check_due)

    @property
    def body_step(self) -> int:
        """Bytes of a body that must arrive between two checks."""
        return max(1, int(MIN_BODY_BYTES_PER_SECOND * self._seconds))

    def watch(self, connection: Connection) -> None:
        """Watch a connection from the moment it is accepted."""
        self._timers.add((ref(connection), Awaited.FIRST_HEAD), after=self._seconds)

    def _check_due(self) -> None:
        self._loop.call_later(TICK_SECONDS, self._check_due)
        aborted = sum(self._check(*check) for check in self._timers.due())
        if aborted:
            logger.warning("connection.slow cut=%d", aborted)

    def _check(self, watched: ref[Connection], previous: Arrival) -> bool:
        connection = watched()
        arrival = Awaited.CLOSED if connection is None else self._arrival_of(connection)
        if connection is None or arrival is Awaited.CLOSED:
            return False
        if arrival is not Awaited.NOTHING and arrival == previous:
            self._abort(connection)
            return True
        self._timers.add((watched, arrival), after=self._seconds)
        return False
