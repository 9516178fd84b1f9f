"""Exports: the retained log as it is read from Redis, for somebody who may have it.

What the service itself has to say stands among the events, as in a stream: where it says `reset`,
events are missing. Nothing is left out in silence.
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
from notifications.log.base import Batch, Entry, Log, ResetReason
from notifications.log.cursors import Cursor, Position, position_ms
from notifications.views.history.permission import GrantWatch

PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Page:
    """Events, in order, and the place that they reach to."""

    entries: Sequence[Entry]
    last: Position


@dataclass(frozen=True, slots=True)
class Signal:
    """Words of the service's own: `reset`, where something is missing, or `closing`, at the end."""

    name: str
    reason: ResetReason | CloseReason
    last: Position


class Cut(Exception):
    """The rest cannot be sent, which whoever reads must not take for the end."""


@dataclass(frozen=True, slots=True)
class Export:
    """What `grant` allows of the log after one cursor and up to another, of one epoch.

    `missing` says that something before the first of it is not known any more.
    """

    log: Log
    grant: Grant
    after: Cursor
    until: Cursor
    missing: ResetReason | None = None
    patience: float = 5.0
    """Seconds to wait for a log that cannot be reached."""

    async def pages(self, grant_watch: GrantWatch) -> AsyncGenerator[Page | Signal]:
        """Ends when all has been said; raises `Cut`, after a last signal, where it cannot be."""
        asked = frozenset(self.grant.topics)
        place = self.after.position
        if self.missing is not None:
            yield Signal("reset", self.missing, place)
        with grant_watch.watched():
            try:
                async with aclosing(self._batches(place)) as batches:
                    async for batch in batches:
                        if reason := await grant_watch.ended():
                            yield Signal("closing", reason, place)
                            raise Cut(reason)
                        if batch.prev != place and not (batch.prev < place == self.after.position):
                            yield Signal("reset", ResetReason.TRIMMED, batch.prev)
                        place = batch.last
                        yield Page(_theirs(batch.entries, asked, self.grant), place)
                if place < self.until.position:
                    yield Signal("reset", await self._what_happened(), self.until.position)
            except Unavailable as error:
                yield Signal("closing", CloseReason.LOG_AWAY, place)
                raise Cut(error.detail) from error

    async def _batches(self, place: Position) -> AsyncGenerator[Batch]:
        """What the log has; while it cannot be reached, for a time, it is asked again."""
        loop = asyncio.get_running_loop()
        away_since: float | None = None
        while True:
            try:
                async with aclosing(
                    self.log.read(after=place, until=self.until.position)
                ) as batches:
                    async for batch in batches:
                        away_since = None
                        place = batch.last
                        yield batch
            except Unavailable:
                away_since = away_since or loop.time()
                if loop.time() - away_since >= self.patience:
                    raise
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _what_happened(self) -> ResetReason:
        state = await self.log.state()
        return ResetReason.TRIMMED if state.epoch == self.until.epoch else ResetReason.LOG_LOST


def _theirs(entries: Sequence[Entry], asked: frozenset[str], grant: Grant) -> Sequence[Entry]:
    """Those of the topics, but not what passes who asks over, or came too early for them."""
    since, subjects = grant.since, grant.subjects
    found = [
        entry
        for entry in entries
        if not asked.isdisjoint(entry.topics)
        and (entry.skip is None or entry.skip.isdisjoint(subjects))
    ]
    if not since:
        return found
    return [entry for entry in found if _may_have(entry, asked, since)]


def _may_have(entry: Entry, asked: frozenset[str], since: Mapping[str, int]) -> bool:
    """Whether any topic by which it would come allows it from that time on."""
    ms = position_ms(entry.position)
    return any(topic in asked and ms >= since.get(topic, 0) for topic in entry.topics)


# Readings: the exports that this process is making, each of which may read all of the log.


MOST = 20
RETRY_AFTER = 5


class Reading:
    """One of them: over when it is left, or when nobody holds it. A response may never begin."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _open.discard(self)


_open: WeakSet[Reading] = WeakSet()


def begin() -> Reading:
    """Raises `TooMany` while there are as many as there may be."""
    if len(_open) >= MOST:
        raise TooMany(
            f"This process is making {MOST} exports already: come back when one has ended.",
            retry_after=RETRY_AFTER,
        )
    reading = Reading()
    _open.add(reading)
    return reading
