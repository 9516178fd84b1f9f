"""How many events the relay prepares and publishes at once."""

from collections.abc import Iterable, Sequence

from notifications.log.entries import Draft
from notifications.publishing.outbox.rows import WaitingEvent

FIRST_BATCH_EVENTS, MAX_BATCH_EVENTS = 100, 500
MAX_BATCH_BYTES = 2 * 1024 * 1024
BATCHES_AT_ONCE = 4
"""How many batches are prepared together: a query costs a wait for the database, whatever it asks
for, and Redis does nothing else while it appends a batch."""
MAX_WINDOW = 64
"""How many times as many events are looked at, where all that come first are postponed."""


class BatchSize:
    """How many events the log takes in one call.

    It grows while full batches succeed, so that a backlog shrinks fast, and a limit in bytes holds
    for each. It shrinks when the log takes no batch: the batch may be too large for the log, or one
    event of it.
    """

    def __init__(self) -> None:
        self.events = FIRST_BATCH_EVENTS
        self.rows = FIRST_BATCH_EVENTS
        """How many rows are read: fewer, once it is known that they have many events."""
        self._window = 1

    def cut(self, events_of_rows: Iterable[Sequence[WaitingEvent]]) -> list[WaitingEvent]:
        """The events of as many whole rows as fit, or the first events of the first row.

        These are a few batches. It asks for no more rows than it needs, since reading the events of
        one takes time.
        """
        most = self.events * BATCHES_AT_ONCE * self._window
        most_bytes = MAX_BATCH_BYTES * BATCHES_AT_ONCE * self._window
        fitting: list[WaitingEvent] = []
        size = 0
        for number, events in enumerate(events_of_rows, start=1):
            size += len(events[0].row.data)
            fits = not fitting or (len(fitting) + len(events) <= most and size <= most_bytes)
            if fits:
                fitting += events
            if not fits or len(fitting) >= most:
                self.rows = min(most, 2 * number)
                return fitting[:most]
        self.rows = most
        return fitting

    def of(self, drafts: Sequence[Draft]) -> int:
        """How many of these go in one call: one at least."""
        size = 0
        for count, draft in enumerate(drafts[: self.events]):
            size += len(draft.event.encoded)
            if count and size > MAX_BATCH_BYTES:
                return count
        return min(len(drafts), self.events)

    def published(self, count: int) -> None:
        self._window = 1
        if count >= self.events:
            self.events = min(MAX_BATCH_EVENTS, self.events * 2)

    def failed(self, count: int) -> None:
        self.events = max(1, count // 2)

    def all_postponed(self) -> None:
        """Look behind those that were looked at: what they wait for concerns nobody else."""
        if self._window < MAX_WINDOW:
            self._window *= 2
            self.rows *= 2
