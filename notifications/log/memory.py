"""The log in this process's memory: for the tests of applications, and for one process alone."""

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import TracebackType

from notifications.errors import Conflict
from notifications.log.base import (
    Appender,
    Batch,
    Control,
    Draft,
    Entry,
    Gap,
    Log,
    Receipt,
    ResetReason,
    Retention,
)
from notifications.log.cursors import START, Cursor, Position, position, position_ms
from notifications.log.script import fresh_epoch

READ_COUNT = 1_000
MAX_CONTROLS = 10_000


@dataclass
class _Kept:
    fingerprint: str
    receipt: Receipt
    until: float


@dataclass
class MemoryStore:
    """What instances share. Safe between threads."""

    retention: Retention
    lock: threading.Lock = field(default_factory=threading.Lock)
    epoch: str = field(default_factory=fresh_epoch)
    entries: list[Entry] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    floor: Position = START
    last: Position = START
    size: int = 0
    kept: dict[str, _Kept] = field(default_factory=dict)
    wakers: set[Callable[[], None]] = field(default_factory=set)

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        with self.lock:
            self._refuse_conflicts(drafts)
            receipts = [self._append(draft) for draft in drafts]
            self._trim()
            wakers = list(self.wakers)
        for wake in wakers:
            wake()
        return receipts

    def _refuse_conflicts(self, drafts: Sequence[Draft]) -> None:
        now = time.monotonic()
        self.kept = {key: kept for key, kept in self.kept.items() if kept.until > now}
        seen = {key: kept.fingerprint for key, kept in self.kept.items()}
        for index, draft in enumerate(drafts):
            key, fingerprint = draft.key, draft.fingerprint
            if key is not None and seen.setdefault(key, fingerprint) != fingerprint:
                raise Conflict.at(index)

    def _append(self, draft: Draft) -> Receipt:
        if draft.key is not None and draft.key in self.kept:
            first = self.kept[draft.key].receipt
            return Receipt(first.id, first.cursor, duplicate=True)
        event = draft.event
        self._advance()
        entry = Entry(
            self.last,
            tuple(event.topics),
            event.id.encode(),
            event.type.encode() if event.type else None,
            event.encoded,
            event.is_text,
            event.retry,
            frozenset(draft.skip) or None,
        )
        self.entries.append(entry)
        self.size += entry.size
        receipt = Receipt(event.id, Cursor(self.epoch, self.last))
        if draft.key is not None:
            until = time.monotonic() + self.retention.idempotency_age
            self.kept[draft.key] = _Kept(draft.fingerprint, receipt, until)
        return receipt

    def command(self, control: Control) -> Cursor:
        with self.lock:
            self._advance()
            self.controls.append(replace(control, position=self.last))
            del self.controls[:-MAX_CONTROLS]
            cursor = Cursor(self.epoch, self.last)
            wakers = list(self.wakers)
        for wake in wakers:
            wake()
        return cursor

    def release(self, keys: Sequence[str], *, after: int) -> None:
        until = time.monotonic() + after
        with self.lock:
            for key in self.kept.keys() & set(keys):
                self.kept[key].until = min(self.kept[key].until, until)

    def _advance(self) -> None:
        now = position(time.time_ns() // 1_000_000)
        self.last = max(now, Position(self.last + 1))

    def _trim(self) -> None:
        surplus = len(self.entries) - self.retention.events
        oldest = position_ms(self.last) - self.retention.age * 1000
        cut = 0
        for entry in self.entries[:-1]:
            too_old = position_ms(entry.position) < oldest
            if not (cut < surplus or self.size > self.retention.bytes or too_old):
                break
            self.size -= entry.size
            self.floor = entry.position
            cut += 1
        del self.entries[:cut]

    def after(self, place: Position) -> Batch | None:
        """The next entries; None if what follows the place was trimmed."""
        with self.lock:
            if place < self.floor:
                return None
            first = bisect_right(self.entries, place, key=attrgetter("position"))
            entries = self.entries[first : first + READ_COUNT]
            more = first + READ_COUNT < len(self.entries)
            last = entries[-1].position if more else max(place, self.last)
            controls = [each for each in self.controls if place < each.position <= last]
            return Batch(place, last, entries, controls)

    def read(self, after: Position, until: Position) -> Iterator[Batch]:
        place = max(after, self.floor)
        while place < until:
            batch = self.after(place)
            if batch is None:
                place = self.floor
                continue
            if batch.last <= place:
                return
            entries = [entry for entry in batch.entries if entry.position <= until]
            controls = [each for each in batch.controls if each.position <= until]
            yield Batch(batch.prev, min(batch.last, until), entries, controls)
            place = batch.last

    def clear(self) -> None:
        """Lose everything, as FLUSHALL does."""
        with self.lock:
            self.epoch = fresh_epoch()
            self.entries, self.controls, self.size, self.kept = [], [], 0, {}
            self.floor = self.last
            wakers = list(self.wakers)
        for wake in wakers:
            wake()


class MemoryAppender(Appender):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return self._store.append(drafts)

    def command(self, control: Control) -> Cursor:
        return self._store.command(control)

    def release(self, keys: Sequence[str], *, after: int) -> None:
        self._store.release(keys, after=after)

    def state(self) -> Cursor:
        return Cursor(self._store.epoch, self._store.last)

    def read(self, *, after: Position, until: Position) -> Iterator[Batch]:
        return self._store.read(after, until)


class MemoryLog(Log):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to close."""

    async def state(self) -> Cursor:
        return Cursor(self._store.epoch, self._store.last)

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return self._store.append(drafts)

    async def read(self, *, until: Position, after: Position = START) -> AsyncGenerator[Batch]:
        for batch in self._store.read(after, until):
            yield batch

    async def tail(self, after: Cursor) -> AsyncGenerator[Batch | Gap]:
        loop = asyncio.get_running_loop()
        more = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(more.set)

        self._store.wakers.add(wake)
        try:
            place = after.position
            while True:
                more.clear()
                batch = self._store.after(place)
                if self._store.epoch != after.epoch or place > self._store.last:
                    yield Gap(ResetReason.LOG_LOST)
                    return
                if batch is None:
                    yield Gap(ResetReason.TRIMMED)
                    return
                if batch.last > place:
                    place = batch.last
                    yield batch
                else:
                    await more.wait()
        finally:
            self._store.wakers.discard(wake)

    async def ping(self) -> None:
        """Memory always answers."""
