"""Quotas: how many streams may be open in this process: in all, per address and per user."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from notifications.conf import Settings
from notifications.hub.client_ip import client_address
from notifications.hub.grants import Grant
from notifications.hub.refusals import HeldRefusals
from notifications.hub.subscribers import CloseReason, Subscriber
from notifications.telemetry.logs import logger
from notifications.topics import NAMESPACE_END

LOG_EVERY_SECONDS = 10.0
ADDRESS, USERS = "address:", ("user:", "token:")
MIN_OTHER_DESCRIPTORS = 64
"""Descriptors that are not streams: log files, databases, and requests that are under way."""


def descriptor_limit() -> int | None:
    """How many file descriptors this process may open; None if that is unlimited or unknown."""
    try:
        import resource
    except ImportError:  # not Unix
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def descriptors_for_streams(limit: int | None) -> int | None:
    """How many of the descriptors are for streams, each of which needs one."""
    return None if limit is None else max(1, limit - max(MIN_OTHER_DESCRIPTORS, limit // 20))


def stream_limit(most: int, descriptors: int | None) -> int:
    """How many streams may be open if a setting allows so many; 0 for no limit.

    A process without descriptors could not even tell its clients when to come back.
    """
    return min(most, descriptors_for_streams(descriptors) or most) if most else 0


class Quotas:
    """Counts streams by name: `address:192.0.2.7`, `user:5`. Lives in one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        read_descriptor_limit: Callable[[], int | None] = descriptor_limit,
    ) -> None:
        self._clock = clock
        self._max_streams = stream_limit(settings.MAX_STREAMS, read_descriptor_limit())
        self._max_per_address = settings.MAX_STREAMS_PER_ADDRESS
        self._max_per_user = settings.MAX_STREAMS_PER_USER
        self.held_refusals = HeldRefusals()
        self._open = 0
        self._by_name: Counter[str] = Counter()
        self._logged: dict[CloseReason, float] = {}

    def address(self, scope: Mapping[str, Any]) -> str | None:
        """The client's address; None if there is no quota per address."""
        return client_address(scope) if self._max_per_address else None

    def names(self, address: str | None, grant: Grant | None = None) -> tuple[str, ...]:
        """The names under which a stream is counted."""
        names: tuple[str, ...] = ()
        if self._max_per_address and address is not None:
            names = (ADDRESS + address,)
        if self._max_per_user and grant is not None:
            # One subject is enough, and the user precedes the other subjects of a grant.
            names += tuple(name for name in grant.log_subjects if name.startswith(USERS))[:1]
        return names

    def admit(
        self,
        address: str | None,
        grant: Grant | None = None,
        *,
        replacing: Subscriber | None = None,
    ) -> tuple[str, ...] | CloseReason:
        """The names to pass to `take`, or the reason why no stream may open now.

        `replacing`: a stream that ends as this one opens, and so is not counted. Nothing is
        reserved: call `take` in the same step of the event loop.
        """
        names = self.names(address, grant)
        return self._refusal(names, replacing) or names

    def _refusal(self, names: tuple[str, ...], replacing: Subscriber | None) -> CloseReason | None:
        if self._max_streams and self._open >= self._max_streams and replacing is None:
            return self._refuse(CloseReason.TOO_MANY_STREAMS, "")
        for name in names:
            if replacing is not None and name in (replacing.quota_names or ()):
                continue
            if name.startswith(ADDRESS):
                most, reason = self._max_per_address, CloseReason.TOO_MANY_OF_ADDRESS
            else:
                most, reason = self._max_per_user, CloseReason.TOO_MANY_OF_USER
            if self._by_name[name] >= most:
                return self._refuse(reason, name)
        return None

    def _refuse(self, reason: CloseReason, name: str) -> CloseReason:
        """Log a refusal, but not each one: there may be thousands per second."""
        now = self._clock()
        if now - self._logged.get(reason, -LOG_EVERY_SECONDS) >= LOG_EVERY_SECONDS:
            self._logged[reason] = now
            by = name.replace(NAMESPACE_END, "/")
            logger.warning("stream.refused", reason=reason, by=by, streams=self._open)
        return reason

    def take(self, subscriber: Subscriber, names: tuple[str, ...]) -> None:
        """Count a stream that has joined."""
        subscriber.count_under(names)
        self._open += 1
        for name in names:
            self._by_name[name] += 1

    def release(self, subscriber: Subscriber, _: CloseReason) -> None:
        """Stop counting a stream that has left."""
        if subscriber.quota_names is None:
            return
        self._open -= 1
        for name in subscriber.quota_names:
            self._by_name[name] -= 1
            if not self._by_name[name]:
                del self._by_name[name]
        subscriber.count_under(None)
