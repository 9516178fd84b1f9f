"""How fast each publisher may publish to this process: `PUBLISH_RATE` events a second."""

import math
import threading
import time
from dataclasses import dataclass

from notifications.conf import get_settings
from notifications.errors import TooMany

MANY = 10_000
"""Publishers that are remembered before those who have been quiet are forgotten."""


@dataclass(slots=True)
class _Bucket:
    """A second's worth may be saved up. What a batch takes beyond that is owed, and waited for."""

    level: float
    at: float

    def fill(self, rate: float, now: float) -> None:
        self.level = min(max(rate, 1.0), self.level + rate * (now - self.at))
        self.at = now


_buckets: dict[str, _Bucket] = {}
_lock = threading.Lock()


def check(publisher: str) -> None:
    """Before a body is read. Raises `TooMany` for whoever published too much a moment ago."""
    rate = get_settings().PUBLISH_RATE
    if not rate:
        return
    with _lock:
        bucket = _bucket(publisher, rate)
        if bucket.level < 1:
            wait = math.ceil((1 - bucket.level) / rate)
            raise TooMany(
                f"At most {rate:g} events a second are taken from each publisher: "
                f"wait for {wait} s.",
                retry_after=wait,
            )
        bucket.level -= 1


def take(publisher: str, events: int) -> None:
    """So many events came, of which the first was taken by `check`."""
    rate = get_settings().PUBLISH_RATE
    if rate and events > 1:
        with _lock:
            _bucket(publisher, rate).level -= events - 1


def _bucket(publisher: str, rate: float) -> _Bucket:
    now = time.monotonic()
    bucket = _buckets.get(publisher)
    if bucket is None:
        if len(_buckets) >= MANY:
            _forget_the_quiet(rate, now)
        bucket = _buckets[publisher] = _Bucket(max(rate, 1.0), now)
    bucket.fill(rate, now)
    return bucket


def _forget_the_quiet(rate: float, now: float) -> None:
    for publisher, bucket in list(_buckets.items()):
        bucket.fill(rate, now)
        if bucket.level >= max(rate, 1.0):
            del _buckets[publisher]
