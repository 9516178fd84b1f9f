"""How many events the relay prepares and publishes at once."""

from collections.abc import Iterable, Sequence

from notifications.log.entries import Draft
from notifications.publishing.outbox.rows import WaitingEvent

FIRST_BATCH_EVENTS, MAX_BATCH_EVENTS = 100, 500
MAX_BATCH_BYTES = 2 * 1024 * 1024
BATCHES_AT_ONCE = 4
"""How many batches are prepared together: a query costs a wait for the database, whatever it asks
for, and Redis does nothing else while it appends a batch."""


class BatchSize:
    """How many events the log takes in one call.

    It grows up to a limit in bytes while batches succeed, so that a backlog shrinks fast. It
    shrinks when the log takes no batch: the batch may be too large for the log, or one event of it.
    """

    def __init__(self) -> None:
        self.events = FIRST_BATCH_EVENTS
        self.rows = FIRST_BATCH_EVENTS
        """How many rows are read: fewer, once it is known that they have many events."""
        self._is_full = False

    def cut(self, events_of_rows: Iterable[Sequence[WaitingEvent]]) -> list[WaitingEvent]:
        """The events of as many whole rows as fit, or the first events of the first row.

        These are a few batches. It asks for no more rows than it needs, since reading the events of
        one takes time.
        """
        most = self.events * BATCHES_AT_ONCE
        fitting: list[WaitingEvent] = []
        for number, events in enumerate(events_of_rows, start=1):
            fits = not fitting or len(fitting) + len(events) <= most
            if fits:
                fitting += events
            if not fits or len(fitting) >= most:
                self.rows, self._is_full = min(most, 2 * number), True
                return fitting[:most]
        self.rows, self._is_full = most, len(fitting) >= self.events
        return fitting

    def published(self, drafts: Sequence[Draft]) -> None:
        size = sum(len(draft.event.encoded) for draft in drafts)
        if size > MAX_BATCH_BYTES:
            self.events = max(1, self.events * MAX_BATCH_BYTES // size)
        elif self._is_full and size * 2 <= MAX_BATCH_BYTES:
            self.events = min(MAX_BATCH_EVENTS, self.events * 2)

    def failed(self, count: int) -> None:
        self.events = max(1, count // 2)
