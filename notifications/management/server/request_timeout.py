"""Ending connections that do not get round to asking: half-open ones, or a byte at a time.

No server here bounds by itself how long a request may take to come in. Whoever is being answered is
not looked at twice, and one that is kept alive between two requests is the server's own affair.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable
from enum import Enum

from notifications.conf import get_settings
from notifications.hub.scheduling import TimerWheel

logger = logging.getLogger("carillon")

TICK = 0.5
SLOWEST = 500
"""Bytes a second, below which a body counts as standing still."""


class Owed(Enum):
    GONE = "gone"
    """The connection is closed."""
    FIRST = "first"
    """The head of its first request."""
    NOTHING = "nothing"


type Debt = Owed | tuple[int, int]
"""What a connection is in the middle of sending: which request, and how far that has come."""


class Patience[Connection: Hashable]:
    """`REQUEST_TIMEOUT` for each head, and for each piece of a body; twice that at the most."""

    def __init__(self, owes: Callable[[Connection], Debt], cut: Callable[[Connection], None]):
        self._owes = owes
        self._cut = cut
        self._seconds = get_settings().REQUEST_TIMEOUT
        self._timers: TimerWheel[tuple[Connection, Debt]] = TimerWheel(TICK)
        self._loop = asyncio.get_running_loop()
        # No task: the loop of one of the servers ends without waiting for any.
        self._loop.call_later(TICK, self._turn)

    @property
    def stride(self) -> int:
        """Bytes of a body that must come until it is looked at again."""
        return max(1, int(SLOWEST * self._seconds))

    def watch(self, connection: Connection) -> None:
        """From its first moment on."""
        self._timers.add((connection, Owed.FIRST), after=self._seconds)

    def _turn(self) -> None:
        self._loop.call_later(TICK, self._turn)
        cut = sum(self._look(*visit) for visit in self._timers.due())
        if cut:
            logger.warning("connection.slow cut=%d", cut)

    def _look(self, connection: Connection, before: Debt) -> bool:
        debt = self._owes(connection)
        if debt is Owed.GONE:
            return False
        if debt is not Owed.NOTHING and debt == before:
            self._cut(connection)
            return True
        self._timers.add((connection, debt), after=self._seconds)
        return False
