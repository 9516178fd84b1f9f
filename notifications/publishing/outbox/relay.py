"""The relay of one database: from its outbox into the log, each event at least once, in order."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import batched
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connections

from notifications.conf import Settings
from notifications.conf import namespace as namespaces
from notifications.errors import Conflict, Unavailable
from notifications.log.entries import ControlAction, ControlEntry
from notifications.log.factory import open_relay_log
from notifications.publishing.outbox import completion, table
from notifications.publishing.outbox.appending import Appending
from notifications.publishing.outbox.batch_size import MAX_BATCH_EVENTS, BatchSize
from notifications.publishing.outbox.connections import close_broken
from notifications.publishing.outbox.lease import Lease
from notifications.publishing.outbox.rows import Row, WaitingEvent
from notifications.telemetry.counters import process_counters
from notifications.telemetry.logs import logger

FIRST_FAILURE_PAUSE_SECONDS, LONGEST_FAILURE_PAUSE_SECONDS = 0.1, 2.0
LOOK_PAUSES, LONGEST_LOOK_PAUSE_SECONDS = 20, 1.0
"""A relay that finds nothing pauses for so many times as long as its look took, but no longer."""
STANDBY_POLL_SECONDS = 1.0
"""How often a relay that stands by looks whether the lease was released."""
POSTPONED_PAUSE_SECONDS = 0.05
"""How long the relay waits where nothing but events of locked rows is left."""
RELEASED_KEY_SECONDS = 60
"""How long the log remembers the key of a deleted row: a relay that lost its lease after checking
it may still publish that row."""
MAX_EVENT_FAILURES = 5
PROBE = ControlEntry(ControlAction.RECHECK, (), "")
"""A control entry that concerns no stream: it only shows whether the log takes entries at all."""


class Relay:
    """Runs in one thread. Other threads call only `wake` and `stop`."""

    def __init__(
        self,
        using: str,
        settings: Settings,
        *,
        longest_failure_pause_seconds: float = LONGEST_FAILURE_PAUSE_SECONDS,
    ) -> None:
        self.using = using
        self.is_active = False
        """Whether this relay has the lease; otherwise it stands by."""
        self.failures = 0
        """How many steps have failed since the last that did not."""
        self.batch_size = BatchSize()
        self._settings = settings
        self._longest_failure_pause_seconds = longest_failure_pause_seconds
        self._lease = Lease(using, seconds=settings.OUTBOX_LEASE)
        self._log = open_relay_log(settings)
        self._woken = threading.Event()
        self._stopping = False
        self._standby_seconds = 0.0
        self._is_idle = False
        """Whether nothing has been left of what waited."""
        self._idle_pause = settings.OUTBOX_POLL
        self.postponed = 0
        """How many events of the last rows wait for open transactions."""
        self._released: list[str] = []
        """The keys of rows that the outbox has no more."""
        self._suspect: tuple[object, int] = (None, 0)
        """The event that failed alone, by `WaitingEvent.key`, and how often in succession."""

    def wake(self) -> None:
        """Look into the outbox now: it has new events."""
        self._woken.set()

    def stop(self) -> None:
        """End after the group that is being published."""
        self._stopping = True
        self._woken.set()

    def pause(self) -> None:
        """Wait a moment for the transactions that have locked the rows of postponed events."""
        self._woken.wait(POSTPONED_PAUSE_SECONDS)

    def run(self) -> None:
        """Relay until stopped, also after failures of the database and of the log."""
        with namespaces.enter(""):
            try:
                while not self._stopping:
                    self._woken.wait(self._step())
                    self._woken.clear()
            finally:
                with suppress(DatabaseError):
                    self._lease.release()
                connections.close_all()

    def _step(self) -> float:
        """Publish what was read, if there is any, and return how many seconds to pause then."""
        close_broken(self.using)
        try:
            pause = self._relay_batch()
        except DatabaseError as error:
            connections[self.using].close()
            return self._failed("relay.database_away", error)
        except Unavailable as error:
            return self._failed("relay.log_away", error.detail)
        except Exception as error:
            logger.exception("relay.failed", database=self.using)
            return self._failed("relay.failed", error)
        if self.failures:
            logger.info("relay.recovered", database=self.using)
            self.failures = 0
        return pause

    def _failed(self, event: str, error: object) -> float:
        if not self.failures:
            logger.warning(event, database=self.using, error=str(error))
        self.failures += 1
        doubled: float = FIRST_FAILURE_PAUSE_SECONDS * 2 ** min(self.failures, 10)
        return min(doubled, self._longest_failure_pause_seconds) * random.uniform(0.5, 1)

    def _relay_batch(self) -> float:
        if self._lease.due and not self._acquire_lease():
            return self._standby_seconds
        if self._is_idle and not self._is_any_waiting():
            return self._idle_pause
        asked = self.batch_size.rows
        batch = table.oldest(self.using, asked)
        if not self._lease.held:
            return 0  # the query took so long that another relay may be active now
        self._is_idle = False
        published = self.publish(batch)
        if self.postponed and not published:
            return POSTPONED_PAUSE_SECONDS
        self._is_idle = len(batch) < asked and not self.postponed
        return 0

    def _is_any_waiting(self) -> bool:
        """A look takes longer the more rows were refused, and then there are fewer of them."""
        began = monotonic()
        is_any_waiting = table.is_any_waiting(self.using)
        pause = min(LOOK_PAUSES * (monotonic() - began), LONGEST_LOOK_PAUSE_SECONDS)
        self._idle_pause = max(self._settings.OUTBOX_POLL, pause)
        return is_any_waiting

    def _acquire_lease(self) -> bool:
        holder, remaining = self._lease.read()
        is_free = remaining <= 0 or self._lease.is_of(holder)
        was_active, self.is_active = self.is_active, is_free and self._lease.take()
        if was_active and not self.is_active:
            logger.warning("relay.lost", database=self.using)
        elif self.is_active and not was_active:
            logger.info("relay.active", database=self.using)
            if holder and -remaining > self._settings.OUTBOX_KEY_AGE:
                logger.error(
                    "relay.may_repeat",
                    database=self.using,
                    hint="see docs/outbox.md",
                )
        self._standby_seconds = (
            STANDBY_POLL_SECONDS if is_free else min(remaining, STANDBY_POLL_SECONDS)
        )
        return self.is_active

    def publish(self, rows: list[Row]) -> int:
        """Publish the events of rows, and remove each from the rows.

        While a group of them is appended, the next one is prepared. Returns how many events were
        published. Raises `Unavailable`, and what the database raises.
        """
        self.postponed = published = 0
        last: Appending | None = None
        try:
            for group in self.batch_size.groups(self._waiting(rows)):
                following = self._prepare(group)
                if last is not None:
                    last.wait()
                    if not last.is_complete or self._stopping or not self._may_go_on():
                        break
                following.begin()
                last, ended = following, last
                published += self._finish(ended)
        except Exception:
            with suppress(Exception):  # the first one is raised
                self._finish(last)
            raise
        published += self._finish(last)
        self._release_keys()
        if self.postponed and not published:
            self.batch_size.all_postponed()
        return published

    def _may_go_on(self) -> bool:
        """Whether nobody else can have published meanwhile what is prepared here."""
        return self._is_relaying() and not (
            self.is_active and self._lease.due and not self._acquire_lease()
        )

    def _is_relaying(self) -> bool:
        return self._lease.held or not self.is_active  # `publish_waiting` has no lease

    def _finish(self, appending: Appending | None) -> int:
        """Take what the log has from the outbox, and return how many events that are."""
        if appending is None:
            return 0
        appending.wait()
        process_counters.count_published(appending.new)
        for event, reason in appending.refused:
            self._refuse(event, reason)
        if appending.done:
            gone = table.remove(appending.events[: appending.done], using=self.using)
            self._released += [row.idempotency_key for row in gone]
        if appending.failure is not None:
            self._failed_to_append(appending.batch, appending.failure)
        return appending.done

    def _release_keys(self) -> None:
        """At the end of a step, since in its midst the log is busy with the next group."""
        released, self._released = self._released, []
        with suppress(Unavailable):  # then the log remembers the keys for longer
            for keys in batched(released, MAX_BATCH_EVENTS):
                self._log.release(keys, seconds=RELEASED_KEY_SECONDS)

    def _waiting(self, batch: list[Row]) -> Iterator[list[WaitingEvent]]:
        for row in batch:
            try:
                events = row.events()
            except (TypeError, ValueError, RecursionError) as error:
                self._log_refusal(row, reason := f"This is no event: {error}")
                table.refuse_row(row, reason, using=self.using)
            else:
                yield events

    def _prepare(self, waiting: list[WaitingEvent]) -> Appending:
        """Of these events, those that can be published now, with their data."""
        completed = completion.completed(self.using, waiting)
        given = [
            pair
            for pair in zip(waiting, completed, strict=True)
            if pair[1] is not completion.POSTPONED
        ]
        self.postponed += len(waiting) - len(given)
        return Appending(self._log, self.batch_size, self._is_relaying, given)

    def _failed_to_append(self, events: Sequence[WaitingEvent], failure: Exception) -> None:
        """Raises the failure, unless it is that of one event."""
        if isinstance(failure, Conflict):
            self._refuse(events[failure.extensions["index"]], failure.detail)
            return
        if isinstance(failure, Unavailable):
            self.batch_size.failed(len(events))
            if len(events) == 1:
                self._blame_event_or_log(events[0], failure)
        raise failure

    def _blame_event_or_log(self, event: WaitingEvent, error: Unavailable) -> None:
        """Refuse one after too many failures in succession, if the log took `PROBE` each time."""
        failures = self._suspect[1] if self._suspect[0] == event.key else 0
        self._suspect = (event.key, 0)
        self._log.append_control(PROBE)
        self._suspect = (event.key, failures + 1)
        if failures + 1 >= MAX_EVENT_FAILURES:
            self._refuse(event, error.detail)

    def _refuse(self, event: WaitingEvent, reason: str) -> None:
        self._log_refusal(event.row, reason)
        table.refuse(event, reason, using=self.using)

    def _log_refusal(self, row: Row, reason: str) -> None:
        logger.error(
            "relay.refused",
            database=self.using,
            id=row.name,
            error=reason,
            hint="see 'carillon relay --status'",
        )


def publish_waiting(using: str, settings: Settings) -> int:
    """Publish every waiting event, in this thread and without the lease. Raises `Unavailable`."""
    relay = Relay(using, settings)
    total = 0
    with namespaces.enter(""):
        while batch := table.oldest(using, relay.batch_size.rows):
            published = relay.publish(batch)
            if relay.postponed and not published:
                relay.pause()
            total += published
    return total
