"""The relay of one database: from its outbox into the log, each event at least once, in order."""

import logging
import random
import threading
from collections.abc import Sequence
from contextlib import suppress

from django.db import Error as DatabaseError
from django.db import connections

from notifications.conf import Settings
from notifications.errors import Conflict, Unavailable
from notifications.log.base import Control, Draft, Order
from notifications.log.factory import relay_appender
from notifications.publishing.outbox import table
from notifications.publishing.outbox.lease import Lease
from notifications.publishing.outbox.table import Row
from notifications.telemetry.counters import process_counters

logger = logging.getLogger("carillon")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
STANDBY = 1.0
"""How often one that stands by looks whether the lease was released."""
RELEASED = 60
"""For how many seconds the log remembers a row that is gone: a relay that lost its lease between
looking at it and publishing may still come with that row."""
MANY_TRIES = 5
NOTHING = Control(Order.RECHECK, (), "")
"""An entry that concerns nobody."""


class Relay:
    """Works in one thread. `nudge` and `stop` are for all others."""

    def __init__(self, using: str, settings: Settings) -> None:
        self.using = using
        self._settings = settings
        self._lease = Lease(using, seconds=settings.OUTBOX_LEASE)
        self._appender = relay_appender(settings)
        self.batch_size = BatchSize()
        self._news = threading.Event()
        self._stopping = False
        self._active = False
        self._standby = 0.0
        self._failures = 0
        self._suspect: tuple[int, int] = (0, 0)

    def nudge(self) -> None:
        """There is something in the outbox."""
        self._news.set()

    def stop(self) -> None:
        """After the batch that is under way."""
        self._stopping = True
        self._news.set()

    def run(self) -> None:
        """Until it is stopped, whatever happens to the database and to the log."""
        try:
            while not self._stopping:
                self._news.wait(self._step())
                self._news.clear()
        finally:
            with suppress(DatabaseError):
                self._lease.release()
            connections[self.using].close()

    def _step(self) -> float:
        """One batch, where there is one; and for how long there is nothing to do afterwards."""
        try:
            pause = self._work()
        except DatabaseError as error:
            connections[self.using].close()
            return self._failed("relay.database_away", error)
        except Unavailable as error:
            return self._failed("relay.log_away", error.detail)
        except Exception as error:
            logger.exception("relay.failed database=%s", self.using)
            return self._failed("relay.failed", error)
        if self._failures:
            logger.info("relay.goes_on database=%s", self.using)
            self._failures = 0
        return pause

    def _failed(self, what: str, why: object) -> float:
        if not self._failures:
            logger.warning("%s database=%s error=%r", what, self.using, str(why))
        self._failures += 1
        pause: float = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1)

    def _work(self) -> float:
        if self._lease.due and not self._come_by_the_lease():
            return self._standby
        batch = table.oldest(self.using, self.batch_size.count)
        if not self._lease.held:
            return 0  # that took so long that another one may be at work
        self.publish(batch)
        return 0 if batch else self._settings.OUTBOX_POLL

    def _come_by_the_lease(self) -> bool:
        holder, left = self._lease.left()
        free = left <= 0 or self._lease.is_of(holder)
        had, self._active = self._active, free and self._lease.take()
        if had and not self._active:
            logger.warning("relay.lost database=%s", self.using)
        elif self._active and not had:
            logger.info("relay.active database=%s", self.using)
            if holder and -left > self._settings.OUTBOX_KEY_AGE:
                logger.error("relay.may_repeat database=%s: see docs/outbox.md", self.using)
        self._standby = STANDBY if free else min(left, STANDBY)
        return self._active

    def publish(self, batch: list[Row]) -> int:
        """How many: they are deleted. Raises `Unavailable`, and what the database raises."""
        drafts = self._drafts(batch)
        kept = [row for row in batch if row.pk in drafts]
        if not kept or not self._append(kept, list(drafts.values())):
            return 0
        table.delete(kept, using=self.using)
        with suppress(Unavailable):  # else they are remembered for longer
            self._appender.release([row.idempotency_key for row in kept], after=RELEASED)
        self.batch_size.took(kept)
        return len(kept)

    def _drafts(self, batch: list[Row]) -> dict[int, Draft]:
        drafts = {}
        for row in batch:
            try:
                drafts[row.pk] = row.draft()
            except (ValueError, RecursionError) as error:
                self._refuse(row, f"This is no event: {error}")
        return drafts

    def _append(self, batch: list[Row], drafts: list[Draft]) -> bool:
        try:
            receipts = self._appender.append(drafts)
        except Conflict as error:
            self._refuse(batch[error.extensions["index"]], error.detail)
            return False
        except Unavailable as error:
            self.batch_size.failed(batch)
            if len(batch) == 1:
                self._ask_whose_fault(batch[0], error)
            raise
        process_counters.publish(sum(not each.duplicate for each in receipts))
        return True

    def _ask_whose_fault(self, row: Row, error: Unavailable) -> None:
        """A log that takes something else each time a row has failed, and never takes the row."""
        tries = self._suspect[1] if self._suspect[0] == row.pk else 0
        self._suspect = (row.pk, 0)
        self._appender.command(NOTHING)
        self._suspect = (row.pk, tries + 1)
        if tries + 1 >= MANY_TRIES:
            self._refuse(row, error.detail)

    def _refuse(self, row: Row, why: str) -> None:
        logger.error(
            "relay.refused database=%s id=%r error=%r: see 'carillon relay --status'",
            self.using,
            row.name,
            why,
        )
        table.refuse(row, why, using=self.using)


def publish_waiting(using: str, settings: Settings) -> int:
    """Publish all that waits, in this thread, whoever has the lease. Raises `Unavailable`."""
    relay = Relay(using, settings)
    published = 0
    while batch := table.oldest(using, relay.batch_size.count):
        published += relay.publish(batch)
    return published


# How many rows the relay takes at once.


FIRST, MOST = 100, 500
BYTES = 2 * 1024 * 1024


class BatchSize:
    """Many while all goes well, so that a backlog is soon made up for, and not too many bytes.

    Fewer where they were not taken: the batch may be too much for the log, or one row of it.
    """

    def __init__(self) -> None:
        self.count = FIRST

    def took(self, rows: Sequence[Row]) -> None:
        size = sum(len(row.data) for row in rows)
        if size > BYTES:
            self.count = max(1, self.count * BYTES // size)
        elif len(rows) >= self.count and size * 2 <= BYTES:
            self.count = min(MOST, self.count * 2)

    def failed(self, rows: Sequence[Row]) -> None:
        self.count = max(1, len(rows) // 2)
