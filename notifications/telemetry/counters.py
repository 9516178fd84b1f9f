"""What this process has counted since it began: plain numbers, which cost next to nothing.

They are for `/metrics`, and nothing here decides by them. Counted on event loops, but for what is
published, which may be from any thread.
"""

import threading
import time
from collections import Counter, deque

ENOUGH = 4_096


class Counters:
    def __init__(self) -> None:
        self.opened = 0
        """Streams that joined."""
        self.closed: Counter[str] = Counter()
        """Streams that left, by reason."""
        self.refused: Counter[str] = Counter()
        """Streams that were told why they cannot join, by reason."""
        self.resets: Counter[str] = Counter()
        self.read = 0
        """Events that came from the log."""
        self.delivered = 0
        """Events times the streams that they were written to."""
        self.latencies: deque[float] = deque(maxlen=ENOUGH)
        """Of each batch that somebody heard: seconds from the log's time of its first event until
        the last stream had it. Whoever exports takes them out."""
        self.published = 0
        self.problems: Counter[str] = Counter()
        """Errors that were answered, by code."""
        self.reconnects = 0
        """How often the log came back."""
        self._lock = threading.Lock()

    @property
    def open(self) -> int:
        return self.opened - self.closed.total()

    def heard(self, ms: int) -> None:
        """All who hear a batch have it now, whose first event is of that time."""
        self.latencies.append(max(0.0, time.time() - ms / 1000))

    def publish(self, events: int) -> None:
        with self._lock:
            self.published += events


process_counters = Counters()
