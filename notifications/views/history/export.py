"""An export: what a grant allows of the retained log, read from Redis.

The service's own signals stand among the events, as in a stream. A `reset` marks where events are
missing, so that no event is left out silently.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Self
from weakref import WeakSet

from notifications.errors import TooMany, Unavailable
from notifications.hub.grants import Grant
from notifications.hub.subscribers import CloseReason
from notifications.log.base import Log
from notifications.log.cursors import Cursor, Position, position_ms
from notifications.log.entries import Batch, ResetReason
from notifications.log.records import Entry, Record, decode
from notifications.views.history.permission import GrantWatch

MAX_EXPORTS = 20
RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Page:
    """Events, in order. `last` is the position up to which the log was read for them."""

    entries: Sequence[Entry]
    last: Position


@dataclass(frozen=True, slots=True)
class ExportSignal:
    """A signal of the service: `reset`, where events are missing, or `closing`, at the end."""

    name: str
    reason: ResetReason | CloseReason
    last: Position


class ExportInterrupted(Exception):
    """The export ends early. The client must not take what it has for the whole export."""


@dataclass(frozen=True, slots=True)
class Export:
    """What `grant` allows of the log after one cursor and up to another, both of one epoch.

    `missing` is the reason why events before the first one are not known any more.
    """

    log: Log
    grant: Grant
    after: Cursor
    until: Cursor
    missing: ResetReason | None = None
    retry_seconds: float = 5.0
    """How long to retry while the log cannot be reached."""
    pause_seconds: float = 0.5
    """The pause between two attempts."""

    async def pages(self, grant_watch: GrantWatch) -> AsyncGenerator[Page | ExportSignal]:
        """Raises `ExportInterrupted`, after a `closing` signal, if the rest cannot be sent."""
        topics = frozenset(self.grant.log_topics)
        position = self.after.position
        if self.missing is not None:
            yield ExportSignal("reset", self.missing, position)
        with grant_watch.watched():
            try:
                async with aclosing(self._batches(position)) as batches:
                    async for batch in batches:
                        if reason := await grant_watch.ended():
                            yield ExportSignal("closing", reason, position)
                            raise ExportInterrupted(reason)
                        # The first cursor may lie between two events: then none is missing.
                        starts_between = batch.prev < position == self.after.position
                        if batch.prev != position and not starts_between:
                            yield ExportSignal("reset", ResetReason.TRIMMED, batch.prev)
                        position = batch.last
                        yield Page(_allowed(batch.records, topics, self.grant), position)
                if position < self.until.position:
                    yield ExportSignal("reset", await self._loss_reason(), self.until.position)
            except Unavailable as error:
                yield ExportSignal("closing", CloseReason.LOG_AWAY, position)
                raise ExportInterrupted(error.detail) from error

    async def _batches(self, position: Position) -> AsyncGenerator[Batch]:
        """The batches of the log. While the log cannot be reached, reading is retried."""
        loop = asyncio.get_running_loop()
        away_since: float | None = None
        while True:
            try:
                async with aclosing(
                    self.log.read(after=position, until=self.until.position)
                ) as batches:
                    async for batch in batches:
                        away_since = None
                        position = batch.last
                        yield batch
            except Unavailable:
                away_since = away_since or loop.time()
                if loop.time() - away_since >= self.retry_seconds:
                    raise
                await asyncio.sleep(self.pause_seconds)
            else:
                return

    async def _loss_reason(self) -> ResetReason:
        state = await self.log.state()
        return ResetReason.TRIMMED if state.epoch == self.until.epoch else ResetReason.LOG_LOST


def _allowed(records: Sequence[Record], topics: frozenset[str], grant: Grant) -> Sequence[Entry]:
    """The events of these topics, without those that skip the reader or that came too early."""
    since, subjects = grant.log_since, grant.log_subjects
    allowed = [
        entry
        for entry in decode(records, topics)
        if entry.skip is None or entry.skip.isdisjoint(subjects)
    ]
    if not since:
        return allowed
    return [entry for entry in allowed if _is_late_enough(entry, topics, since)]


def _is_late_enough(entry: Entry, topics: frozenset[str], since: Mapping[str, int]) -> bool:
    """Whether one of the entry's topics has a history that begins before the entry."""
    ms = position_ms(entry.position)
    return any(topic in topics and ms >= since.get(topic, 0) for topic in entry.topics)


# The limit of concurrent exports in this process: each of them may read the whole log.


class ExportSlot:
    """One of the exports that may run. The slot is free after its block.

    It is also free when its last reference goes, because a response may never be iterated.
    """

    def __init__(self, limit: "ExportLimit") -> None:
        self._limit = limit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.release(self)


class ExportLimit:
    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._slots: WeakSet[ExportSlot] = WeakSet()

    def acquire(self) -> ExportSlot:
        """Raises `TooMany` if all slots are taken."""
        if len(self._slots) >= self.maximum:
            raise TooMany(
                f"This process is making {self.maximum} exports already: "
                "come back when one has ended.",
                retry_after=RETRY_AFTER_SECONDS,
            )
        slot = ExportSlot(self)
        self._slots.add(slot)
        return slot

    def release(self, slot: ExportSlot) -> None:
        self._slots.discard(slot)


export_limit = ExportLimit(MAX_EXPORTS)
