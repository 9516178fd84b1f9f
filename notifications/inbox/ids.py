"""The ids of notifications: UUIDs that grow with time (RFC 9562, version 7).

Rows that are written together are then neighbours in the index too, so a database touches few of
its pages. They do not follow the order of commits.
"""

import secrets
import time
from collections.abc import Iterator
from uuid import UUID

_VERSION, _VARIANT = 7 << 76, 2 << 62
_COUNTER_BITS = 16
MAX_IDS_AT_ONCE = 1 << _COUNTER_BITS


def new_ids(count: int) -> Iterator[UUID]:
    """So many ids, at most `MAX_IDS_AT_ONCE`, each greater than the one before it."""
    if count > MAX_IDS_AT_ONCE:
        raise ValueError(f"At most {MAX_IDS_AT_ONCE} ids are made at once.")
    milliseconds = time.time_ns() // 1_000_000
    # Of the 74 bits that are free, the last ones count; the others are random for each call.
    high, low = secrets.randbits(12), secrets.randbits(62 - _COUNTER_BITS)
    first = milliseconds << 80 | _VERSION | high << 64 | _VARIANT | low << _COUNTER_BITS
    return (UUID(int=first + number) for number in range(count))


def new_id() -> UUID:
    return next(new_ids(1))
