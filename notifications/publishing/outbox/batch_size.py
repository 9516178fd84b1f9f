"""How many events the relay reads, prepares and publishes at once."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from notifications.log.entries import Draft
from notifications.publishing.outbox.rows import WaitingEvent

FIRST_BATCH_EVENTS, MAX_BATCH_EVENTS = 250, 500
FIRST_ROWS = 100
MAX_BATCH_BYTES = 2 * 1024 * 1024
BATCHES_OF_GROUP = 2
"""How many batches are prepared together: a query costs a wait for the database, whatever it asks
for, and Redis does nothing else while it appends a batch."""
BATCHES_OF_ROWS = 4
"""How many batches the rows fill that are read at once, if each has one event."""
GROUPS_AT_ONCE = 20
"""How many groups they fill at most, since all of them are in memory."""
MAX_WINDOW = 64
"""How many times as many rows are read, where all that come first are postponed."""


class BatchSize:
    """How many events the log takes in one call.

    It grows while full batches succeed, so that a backlog shrinks fast, and a limit in bytes holds
    for each. It shrinks when the log takes no batch: the batch may be too large for the log, or one
    event of it.
    """

    def __init__(self) -> None:
        self.events = FIRST_BATCH_EVENTS
        self.rows = FIRST_ROWS
        """How many rows are read: fewer, once it is known that they have many events."""
        self._window = 1

    def groups(
        self, events_of_rows: Iterable[Sequence[WaitingEvent]]
    ) -> Iterator[list[WaitingEvent]]:
        """The events of rows, in groups of a few batches: of whole rows, where these are smaller.

        It asks for a row when it needs that, since reading the events of one takes time.
        """
        return islice(self._groups(events_of_rows), GROUPS_AT_ONCE * self._window)

    def _groups(
        self, events_of_rows: Iterable[Sequence[WaitingEvent]]
    ) -> Iterator[list[WaitingEvent]]:
        group: list[WaitingEvent] = []
        rows_of_group = size = 0
        self.rows = self._max_rows
        for events in events_of_rows:
            size_of_row = len(events[0].row.data)
            if group and not self._fits(len(group) + len(events), size + size_of_row):
                self.rows = min(self._max_rows, GROUPS_AT_ONCE * rows_of_group * self._window)
                yield group
                group, rows_of_group, size = [], 0, 0
            rows_of_group, size = rows_of_group + 1, size + size_of_row
            group += events
            while len(group) > (most := self._events_of_group):
                yield group[:most]
                group = group[most:]
        if group:
            yield group

    @property
    def _max_rows(self) -> int:
        return self.events * BATCHES_OF_ROWS * self._window

    @property
    def _events_of_group(self) -> int:
        return self.events * BATCHES_OF_GROUP

    def _fits(self, events: int, size: int) -> bool:
        return events <= self._events_of_group and size <= MAX_BATCH_BYTES * BATCHES_OF_GROUP

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
        """Read more rows: what the first ones wait for concerns nobody else."""
        if self._window < MAX_WINDOW:
            self._window *= 2
            self.rows *= 2
