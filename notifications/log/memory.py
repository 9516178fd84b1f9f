"""The log in the memory of one process: for the tests of applications, and for `runserver`."""

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

from notifications.conf.namespace import log_subjects, log_topics
from notifications.log.base import Log, SyncLog
from notifications.log.cursors import (
    START,
    Cursor,
    Position,
    make_position,
    position_before,
    position_ms,
)
from notifications.log.ended import EndedStream, Recalled
from notifications.log.ended_in_memory import EndedInMemory
from notifications.log.entries import (
    EVERYONE,
    Batch,
    ControlAction,
    ControlEntry,
    Draft,
    Gap,
    Receipt,
    ResetReason,
    Retention,
)
from notifications.log.keys_in_memory import KeysInMemory
from notifications.log.records import Entry, Record, record_size
from notifications.log.reports import ReportsInMemory
from notifications.log.script import fresh_epoch

READ_COUNT = 1_000
MAX_CONTROLS = 10_000


class MemoryStore:
    """The contents of the log, which all its instances share. Safe between threads."""

    def __init__(
        self,
        retention: Retention,
        *,
        clock: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
        new_epoch: Callable[[], str] = fresh_epoch,
        max_controls: int = MAX_CONTROLS,
    ) -> None:
        self.lock = threading.Lock()
        self.epoch = new_epoch()
        self.records: list[Record] = []
        self.controls: list[ControlEntry] = []
        self.floor = START
        self.last = START
        self._retention = retention
        self._time_ns = time_ns
        self._new_epoch = new_epoch
        self._max_controls = max_controls
        self._last_dropped_control = START
        self._size = 0
        self._keys = KeysInMemory(clock, retention.idempotency_age)
        self._ended = EndedInMemory(clock)
        self.reports = ReportsInMemory(clock)
        self.wakers: set[Callable[[], None]] = set()
        """Called after every change, in the thread that made the change."""

    def _wake(self) -> None:
        for wake in list(self.wakers):
            wake()

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        with self.lock:
            self._keys.refuse_conflicts(drafts)
            receipts = [self._append(draft) for draft in drafts]
            self._trim()
        self._wake()
        return receipts

    def _append(self, draft: Draft) -> Receipt:
        if first := self._keys.receipt(draft):
            return replace(first, duplicate=True)
        event = draft.event
        self._advance()
        entry = Entry(
            self.last,
            log_topics(draft.namespace, event.topics),
            event.id.encode(),
            event.type.encode() if event.type else None,
            event.encoded,
            event.is_text,
            event.retry,
            frozenset(log_subjects(draft.namespace, draft.skip)) or None,
            draft.trace.encode(),
            b"" if event.swap is None else str(event.swap).encode(),
        )
        record = entry.record
        self.records.append(record)
        self._size += record_size(record)
        receipt = Receipt(event.id, str(Cursor(self.epoch, self.last)))
        self._keys.remember(draft, receipt)
        return receipt

    def append_control(self, control: ControlEntry) -> Cursor:
        with self.lock:
            self._advance()
            self.controls.append(replace(control, position=self.last))
            self._ended.note_named(log_subjects(control.namespace, control.subjects), self.last)
            if len(self.controls) > self._max_controls:
                self._last_dropped_control = self.controls.pop(0).position
            cursor = Cursor(self.epoch, self.last)
        self._wake()
        return cursor

    def remember(self, ended: Mapping[str, EndedStream | None], *, seconds: float) -> None:
        with self.lock:
            self._ended.remember(ended, seconds=seconds)

    def recall(self, name: str) -> Recalled | None:
        with self.lock:
            return self._ended.recall(name, self.epoch)

    def release(self, keys: Sequence[str], *, seconds: int) -> None:
        with self.lock:
            self._keys.release(keys, seconds=seconds)

    def state_before(self, seconds: float) -> Cursor:
        with self.lock:
            clock_ms = self._time_ns() // 1_000_000
            return Cursor(self.epoch, position_before(self.last, clock_ms, seconds))

    def _advance(self) -> None:
        now = make_position(self._time_ns() // 1_000_000)
        self.last = max(now, Position(self.last + 1))

    def _trim(self) -> None:
        surplus = len(self.records) - self._retention.events
        oldest = position_ms(self.last) - self._retention.age * 1000
        cut = 0
        for record in self.records[:-1]:
            too_old = position_ms(record[0]) < oldest
            if not (cut < surplus or self._size > self._retention.bytes or too_old):
                break
            self._size -= record_size(record)
            self.floor = record[0]
            cut += 1
        del self.records[:cut]

    def after(self, position: Position) -> Batch | None:
        """The next entries; None if entries that followed the position were trimmed."""
        with self.lock:
            if position < self.floor:
                return None
            first = bisect_right(self.records, position, key=itemgetter(0))
            records = self.records[first : first + READ_COUNT]
            more = first + READ_COUNT < len(self.records)
            last = records[-1][0] if more else max(position, self.last)
            controls = [entry for entry in self.controls if position < entry.position <= last]
            others = [(entry.position, entry.position) for entry in controls]
            if position < (dropped := min(self._last_dropped_control, last)):
                everyone = ControlEntry(ControlAction.RECHECK, (EVERYONE,), "", dropped)
                controls.insert(0, everyone)
                others = [(Position(position + 1), dropped), *others]
            return Batch(position, last, records, controls, others)

    def read(self, after: Position, until: Position) -> Iterator[Batch]:
        position = max(after, self.floor)
        while position < until:
            batch = self.after(position)
            if batch is None:
                position = self.floor
                continue
            if batch.last <= position:
                return
            records = [record for record in batch.records if record[0] <= until]
            controls = [entry for entry in batch.controls if entry.position <= until]
            yield Batch(batch.prev, min(batch.last, until), records, controls, batch.others)
            position = batch.last

    def clear(self) -> None:
        """Lose everything, as FLUSHALL does."""
        with self.lock:
            self.epoch = self._new_epoch()
            self.records, self.controls, self._size = [], [], 0
            self._keys.clear()
            self.floor = self.last
            self._ended.clear()
        self._wake()


class MemorySyncLog(SyncLog):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        return self._store.append(drafts)

    def append_control(self, control: ControlEntry) -> Cursor:
        return self._store.append_control(control)

    def reports(self) -> list[str]:
        return self._store.reports.read()

    def release(self, keys: Sequence[str], *, seconds: int) -> None:
        self._store.release(keys, seconds=seconds)

    def state(self) -> Cursor:
        return Cursor(self._store.epoch, self._store.last)

    def state_before(self, moment: float) -> Cursor | None:
        return self._store.state_before(time.monotonic() - moment)

    def read(self, *, until: Position, after: Position = START) -> Iterator[Batch]:
        return self._store.read(after, until)


class MemoryLog(Log):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def __aexit__(self, *error: object) -> None:
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
            position = after.position
            while True:
                more.clear()
                batch = self._store.after(position)
                if self._store.epoch != after.epoch or position > self._store.last:
                    yield Gap(ResetReason.LOG_LOST)
                    return
                if batch is None:
                    yield Gap(ResetReason.TRIMMED)
                    return
                if batch.last > position:
                    position = batch.last
                    yield batch
                else:
                    await more.wait()
        finally:
            self._store.wakers.discard(wake)

    async def report(self, process: str, text: str, *, at: float, seconds: float) -> None:
        self._store.reports.write(process, text, seconds=seconds)

    async def remember(self, ended: Mapping[str, EndedStream | None], *, seconds: float) -> None:
        self._store.remember(ended, seconds=seconds)

    async def recall(self, names: Sequence[str]) -> list[Recalled | None]:
        return [self._store.recall(name) for name in names]

    async def ping(self) -> None:
        """Memory always answers."""
