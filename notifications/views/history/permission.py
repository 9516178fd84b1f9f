"""The permission of an export, watched here, because an export has no subscriber in the hub."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.recheck import GrantEnd, HeldGrant, RecheckPolicy, concerns, ordered_end
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import ControlEntry

FIRST_RECHECK_SECONDS = 5.0
"""Soon, because a control entry may have come while the grant was being requested."""


class GrantWatch:
    """Watches one grant: an export calls `ended` between two pages."""

    def __init__(self, grant: Grant, *, max_age: float) -> None:
        self._policy = RecheckPolicy(
            max_age=max_age,
            clock=time.monotonic,
            jitter=0,
            retry_seconds=(FIRST_RECHECK_SECONDS, FIRST_RECHECK_SECONDS),
        )
        now = time.monotonic()
        self._held = HeldGrant(grant, confirmed=now)
        self._due = now + min(FIRST_RECHECK_SECONDS, max_age)
        self._end: CloseReason | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Apply the control entries that reach this process meanwhile."""
        runtime.control_observers.append(self._apply)
        try:
            yield
        finally:
            runtime.control_observers.remove(self._apply)

    def _apply(self, control: ControlEntry) -> None:
        if not concerns(control, self._held.grant):
            return
        end = ordered_end(control, self._held.grant.log_topics)
        if end is None:
            self._due = 0.0
        else:
            self._end = end.reason

    async def ended(self) -> CloseReason | None:
        """Why the grant has ended, or None while it holds."""
        if self._end is None and self._policy.has_expired(self._held):
            self._end = CloseReason.EXPIRED
        is_due = self._held.grant.renew is not None and time.monotonic() >= self._due
        if self._end is None and is_due:
            outcome = await self._policy.recheck(self._held)
            if isinstance(outcome, GrantEnd):
                self._end = outcome.reason
            else:
                self._due = time.monotonic() + outcome
        return self._end
