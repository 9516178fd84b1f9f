"""Refusals: the streams that cannot open now, and how long their clients are kept waiting.

A temporary refusal is a stream that ends at once. `retry` tells its client when to come back, but
some clients ignore `retry`, and would ask forty times a second. So the stream of a refusal that
lasts for a while ends only after some seconds. A few such streams are held at a time: they cost a
descriptor each, of which a full process has few left.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.subscribers import CloseReason
from notifications.telemetry.counters import process_counters

HOLD_SECONDS = 5.0
MAX_HELD = 32
"""Half of the descriptors that the quotas leave free at least."""
_LASTING = frozenset(
    {
        CloseReason.TOO_MANY_STREAMS,
        CloseReason.TOO_MANY_OF_ADDRESS,
        CloseReason.TOO_MANY_OF_USER,
        CloseReason.DATABASE_AWAY,
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stream that does not open: its reason, for a client of this encoder."""

    reason: CloseReason
    encoder: Encoder = PLAIN

    def block(self) -> bytes:
        """The closing block. Counts the refusal."""
        process_counters.refused[self.reason] += 1
        return self.encoder.closing(self.reason)


class HeldRefusals:
    """How many refused streams a process holds. Lives in one event loop."""

    def __init__(self, *, seconds: float = HOLD_SECONDS, maximum: int = MAX_HELD) -> None:
        self._seconds = seconds
        self._maximum = maximum
        self._held = 0

    @contextmanager
    def hold(self, reason: CloseReason) -> Iterator[float]:
        """For how many seconds to hold the stream within the block: 0 if it is to end at once."""
        if reason not in _LASTING or self._held >= self._maximum:
            yield 0.0
            return
        self._held += 1
        try:
            yield self._seconds
        finally:
            self._held -= 1
