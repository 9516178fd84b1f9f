"""Appending events to the log, while the relay asks the database about the next ones.

The database and the log then work at the same time. What is appended is in order: the relay begins
with a group when the one before it has ended.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from notifications.log.base import SyncLog
from notifications.log.entries import Draft
from notifications.publishing.outbox.batch_size import BatchSize
from notifications.publishing.outbox.rows import WaitingEvent

FEW_EVENTS = 100
"""Fewer are appended at once, since there is little to wait for."""


class Appending:
    """A group of events, each with its data, on its way into the log, in batches.

    `may_go_on` is asked before each batch but the first. The relay's thread only reads `events` of
    the `batch_size` until this has ended.
    """

    def __init__(
        self,
        log: SyncLog,
        batch_size: BatchSize,
        may_go_on: Callable[[], bool],
        given: Sequence[tuple[WaitingEvent, Any]],
    ) -> None:
        self.events: list[WaitingEvent] = []
        """Those that are valid, once this has begun."""
        self.refused: list[tuple[WaitingEvent, str]] = []
        """The others, each with the reason."""
        self.done = 0
        """How many of the events the log has."""
        self.new = 0
        """How many of these it did not have before."""
        self.batch: Sequence[WaitingEvent] = ()
        """The last one that it has begun with."""
        self.failure: Exception | None = None
        """What has ended it."""
        self._given = given
        self._log = log
        self._batch_size = batch_size
        self._may_go_on = may_go_on
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Append them: a few at once, and more in a thread, while this one goes on."""
        if len(self._given) < FEW_EVENTS:
            self._run()
            return
        # Each has its thread: one that waited for the next group would have to be ended with the
        # relay, and a thread costs as much as a tenth of an event.
        self._thread = threading.Thread(target=self._run, name="carillon-append", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join()

    @property
    def is_complete(self) -> bool:
        return self.failure is None and self.done == len(self.events)

    def _run(self) -> None:
        try:
            self._append(self._make_drafts())
        except Exception as error:  # noqa: BLE001 - the relay raises it
            self.failure = error

    def _append(self, drafts: Sequence[Draft]) -> None:
        while not self.is_complete and (not self.done or self._may_go_on()):
            count = self._batch_size.of(drafts[self.done :])
            batch = slice(self.done, self.done + count)
            self.batch = self.events[batch]
            receipts = self._log.append(drafts[batch])
            self.done += count
            self.new += sum(not receipt.duplicate for receipt in receipts)
            self._batch_size.published(count)

    def _make_drafts(self) -> list[Draft]:
        drafts = []
        for event, data in self._given:
            try:
                drafts.append(event.draft(data))
            except (ValueError, RecursionError) as error:
                self.refused.append((event, f"This is no event: {error}"))
            else:
                self.events.append(event)
        return drafts
