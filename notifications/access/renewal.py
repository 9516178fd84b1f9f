"""Renewal: what an open stream keeps, so that its grant can be computed anew."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from notifications.access.identities.base import Identity
from notifications.conf.namespace import UnknownNamespace, run_in
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.log.cursors import Cursor


def head() -> Cursor | None:
    """The head of this process's window: as of it, what is read next is known."""
    running = runtime.current()
    return running.hub.head if running is not None and running.ready else None


@dataclass(frozen=True, slots=True)
class Renewal(ABC):
    """Computes the grant of an open stream anew: `Grant.renew`.

    A slotted class and not a closure, because each open stream that has an identity keeps one.
    """

    identity: Identity

    async def __call__(self) -> Grant | None:
        try:
            return await run_in(self.identity.namespace, self._renew_now)
        except UnknownNamespace:  # the tenant has been deleted
            return None

    async def _renew_now(self) -> Grant | None:
        grant = await self._renew(head())
        return grant if grant is not None and grant.topics else None

    @abstractmethod
    async def _renew(self, as_of: Cursor | None) -> Grant | None:
        """The grant as it is now, in its namespace; None if the identity has ended."""
