"""Whether somebody who is being sent something may still have it, where no subscriber stands for
them: told by a control entry, by the clock, or on asking."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from notifications.hub import runtime
from notifications.hub.enforcement import concerns, reason_of
from notifications.hub.grants import Grant
from notifications.hub.subscribers import CloseReason
from notifications.log.base import Control, Order

logger = logging.getLogger("carillon")

FIRST_LOOK = 5.0
"""Soon, for what was ordered while the grant was being asked for."""


class GrantWatch:
    """Of one grant. To be asked between two pages of whatever is sent."""

    def __init__(self, grant: Grant, *, max_age: float) -> None:
        self._grant = grant
        self._max_age = max_age
        self._confirmed = time.monotonic()
        self._due = self._confirmed + min(FIRST_LOOK, max_age)
        self._ended: CloseReason | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        runtime.control_observers.append(self._heed)
        try:
            yield
        finally:
            runtime.control_observers.remove(self._heed)

    def _heed(self, control: Control) -> None:
        if not concerns(control, self._grant):
            return
        if control.order is Order.END:
            self._ended = reason_of(control)
        else:
            self._due = 0.0

    async def ended(self) -> CloseReason | None:
        """Why it is over, if it is."""
        until, renew = self._grant.until, self._grant.renew
        if self._ended is None and until is not None and time.time() >= until:
            self._ended = CloseReason.EXPIRED
        if self._ended is None and renew is not None and time.monotonic() >= self._due:
            await self._ask_again()
        return self._ended

    async def _ask_again(self) -> None:
        assert self._grant.renew is not None
        try:
            grant = await self._grant.renew()
        except Exception:
            # Nobody can tell now. That is not yet a no, but it cannot go on for ever.
            logger.exception("grant.unknown subjects=%s", ",".join(self._grant.subjects))
            self._due = time.monotonic() + FIRST_LOOK
            if time.monotonic() - self._confirmed > 2 * self._max_age:
                self._ended = CloseReason.USER_UNKNOWN
            return
        if grant is None or not grant.still_covers(self._grant):
            self._ended = CloseReason.PERMISSION_ENDED
            return
        self._confirmed = time.monotonic()
        self._due = self._confirmed + self._max_age
