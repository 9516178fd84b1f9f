"""How many streams may be open in this process: in all, from one address, and of one user."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from notifications.conf import Settings
from notifications.hub.client_ip import client_address
from notifications.hub.grants import Grant
from notifications.hub.subscribers import CloseReason, Subscriber

logger = logging.getLogger("carillon")

SAID_EVERY = 10.0
ADDRESS, USERS = "address:", ("user:", "token:")


class Quotas:
    """Counts by name: `address:192.0.2.7`, `user:5`. Lives in one event loop, beside its hub."""

    def __init__(self, settings: Settings) -> None:
        # Short of descriptors, those who come had better be told than not be heard at all.
        afford = for_streams() if settings.MAX_STREAMS else None
        self._most = min(settings.MAX_STREAMS, afford or settings.MAX_STREAMS)
        self._most_from = settings.MAX_STREAMS_PER_ADDRESS
        self._most_of = settings.MAX_STREAMS_PER_USER
        self._open = 0
        self._by_name: Counter[str] = Counter()
        self._said: dict[CloseReason, float] = {}

    def address(self, scope: Mapping[str, Any]) -> str | None:
        """Where a stream comes from, if that matters."""
        return client_address(scope) if self._most_from else None

    def names(self, address: str | None, grant: Grant | None = None) -> tuple[str, ...]:
        """Under what a stream is counted."""
        names: tuple[str, ...] = ()
        if self._most_from and address is not None:
            names = (ADDRESS + address,)
        if self._most_of and grant is not None:
            # One is enough, and the user comes before what else there may be.
            names += tuple(each for each in grant.subjects if each.startswith(USERS))[:1]
        return names

    def refusal(
        self, names: tuple[str, ...], *, instead_of: Subscriber | None = None
    ) -> CloseReason | None:
        """Why there cannot be one more under these names, or one in place of another, if so."""
        if self._most and self._open >= self._most and instead_of is None:
            return self._refused(CloseReason.TOO_MANY_STREAMS, "")
        for name in names:
            if instead_of is not None and name in (instead_of.names or ()):
                continue
            if name.startswith(ADDRESS):
                most, reason = self._most_from, CloseReason.TOO_MANY_OF_ADDRESS
            else:
                most, reason = self._most_of, CloseReason.TOO_MANY_OF_USER
            if self._by_name[name] >= most:
                return self._refused(reason, name)
        return None

    def _refused(self, reason: CloseReason, name: str) -> CloseReason:
        """Told now and then: there may be thousands a second."""
        now = time.monotonic()
        if now - self._said.get(reason, -SAID_EVERY) >= SAID_EVERY:
            self._said[reason] = now
            logger.warning("stream.refused reason=%s by=%s streams=%d", reason, name, self._open)
        return reason

    def take(self, subscriber: Subscriber, names: tuple[str, ...]) -> None:
        subscriber.names = names
        self._open += 1
        for name in names:
            self._by_name[name] += 1

    def release(self, subscriber: Subscriber) -> None:
        """It has left."""
        if subscriber.names is None:
            return
        self._open -= 1
        for name in subscriber.names:
            self._by_name[name] -= 1
            if not self._by_name[name]:
                del self._by_name[name]
        subscriber.names = None


# How many descriptors this process may open. Each stream is one, and not every one is a stream.


LEAST_SPARE = 64


def limit() -> int | None:
    """None where there is none, or nobody can tell."""
    try:
        import resource
    except ImportError:  # not Unix
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def for_streams() -> int | None:
    """What is left for streams, beside logs, databases, and requests that are under way."""
    most = limit()
    return None if most is None else max(1, most - max(LEAST_SPARE, most // 20))
