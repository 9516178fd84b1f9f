"""Counters of this process since it started: plain numbers, which cost next to nothing.

They are for `/metrics`; no decision depends on them. Modules on the hot path increment the
attributes directly, always on an event loop. Only publishing may count from any thread.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

MAX_LATENCIES = 4_096


class Counters:
    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.opened = 0
        """Streams that joined the hub."""
        self.closed: Counter[str] = Counter()
        """Streams that left the hub, by reason."""
        self.continued = 0
        """Streams that went on after an interruption, without a query of the database."""
        self.asked = 0
        """Streams of a session that could have gone on so, and for which the database was asked."""
        self.refused: Counter[str] = Counter()
        """Streams that were not let in, by reason."""
        self.resets: Counter[str] = Counter()
        """Resets that streams got, by reason."""
        self.read = 0
        """Events that came from the log."""
        self.delivered = 0
        """Deliveries: each event, times the streams to which it was written."""
        self.latencies: deque[float] = deque(maxlen=MAX_LATENCIES)
        """For each batch that any stream got: seconds from the log's time of its first event until
        the last stream had it. The exporter removes them."""
        self.published = 0
        """Events that this process published and the log did not have before."""
        self.problems: Counter[str] = Counter()
        """Error responses, by code."""
        self.reconnects = 0
        """How often the log could be reached again."""
        self._lock = threading.Lock()
        self._clock = clock

    @property
    def open(self) -> int:
        return self.opened - self.closed.total()

    def record_latency(self, first_ms: int) -> None:
        """Record that every stream has a batch now, whose first event has this time in the log."""
        self.latencies.append(max(0.0, self._clock() - first_ms / 1000))

    def count_published(self, events: int) -> None:
        """Safe from any thread."""
        with self._lock:
            self.published += events


process_counters = Counters()
