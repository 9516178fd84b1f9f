"""How fast each publisher may publish to this process: `PUBLISH_RATE` events a second."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from notifications.conf import get_settings
from notifications.errors import TooMany

MAX_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    """How many events one publisher may publish now: at most a second's worth is saved up.

    A batch may take more than there is. Then the level is negative, and the publisher waits.
    """

    level: float
    filled_at: float

    def fill(self, rate: float, now: float) -> None:
        self.level = min(max(rate, 1.0), self.level + rate * (now - self.filled_at))
        self.filled_at = now


class RateLimit:
    """A bucket for each publisher.

    If there are `max_buckets`, full buckets are dropped. A new bucket is full too, so a publisher
    that comes back notices nothing.
    """

    def __init__(
        self,
        *,
        max_buckets: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_buckets = max_buckets
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    @property
    def publishers(self) -> set[str]:
        """The publishers that have a bucket."""
        return set(self._buckets)

    def check(self, publisher: str) -> None:
        """Take one event, before the body is read. Raises `TooMany` if the bucket is empty."""
        rate = get_settings().PUBLISH_RATE
        if not rate:
            return
        with self._lock:
            bucket = self._filled_bucket(publisher, rate)
            if bucket.level < 1:
                wait = math.ceil((1 - bucket.level) / rate)
                raise TooMany(
                    f"At most {rate:g} events a second are taken from each publisher: "
                    f"wait for {wait} s.",
                    retry_after=wait,
                )
            bucket.level -= 1

    def take(self, publisher: str, events: int) -> None:
        """Take the other events of a batch, of which `check` has taken the first."""
        rate = get_settings().PUBLISH_RATE
        if rate and events > 1:
            with self._lock:
                self._filled_bucket(publisher, rate).level -= events - 1

    def _filled_bucket(self, publisher: str, rate: float) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(publisher)
        if bucket is None:
            if len(self._buckets) >= self._max_buckets:
                self._drop_full_buckets(rate, now)
            bucket = self._buckets[publisher] = _Bucket(max(rate, 1.0), now)
        bucket.fill(rate, now)
        return bucket

    def _drop_full_buckets(self, rate: float, now: float) -> None:
        for publisher, bucket in list(self._buckets.items()):
            bucket.fill(rate, now)
            if bucket.level >= max(rate, 1.0):
                del self._buckets[publisher]


publish_rate_limit = RateLimit()
