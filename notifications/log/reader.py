"""Reading the stream: raw entries as batches, and how many to ask for at once."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from notifications.log.cursors import START, Position, format_position, parse_position
from notifications.log.entries import EVERYONE, Batch, ControlAction, ControlEntry, Entry
from notifications.log.layout import ENTRY_FIELDS

type Raw = Sequence[Any]
"""A stream entry as Redis returns it: its position `<ms>-<n>`, and a list of names and values."""

# Every process reads every event, so it finds a field by its index: that is twice as fast as by its
# name. Optional fields may follow these.
NAMES = [name.encode() for name in ENTRY_FIELDS]
KIND, PREV, AT, EVENTS, TOPICS, ID, TYPE, DATA, FORM, RETRY = range(1, 2 * len(NAMES), 2)
END = 2 * len(NAMES)

MIN_READ_ENTRIES, FIRST_READ_ENTRIES, MAX_READ_ENTRIES = 8, 100, 500
"""Entries of one read."""
MAX_READ_BYTES = 4 * 1024 * 1024
SAMPLED_ENTRIES = 32
"""How many entries of a read are measured: measuring all of them would cost too much."""


class Reader:
    """Turns raw stream entries into batches, and shares values that repeat between entries."""

    MAX_SHARED = 10_000

    def __init__(self) -> None:
        self._topics: dict[bytes, tuple[str, ...]] = {}
        self._types: dict[bytes, bytes] = {}

    def batch(self, raw: Iterable[Raw], after: Position = START) -> Iterable[Batch]:
        """Yield a batch for each run of entries that name each other as predecessors.

        A run continues where only control entries are missing, and everyone is rechecked in their
        stead; `after` is the position up to which the caller has read. An entry of an unknown kind
        belongs to its batch, but is neither an event nor a control entry. Entries that others wrote
        (no `prev`) are skipped.
        """
        prev, last, before = after, after, b""
        entries, controls = list[Entry](), list[ControlEntry]()
        others = list[tuple[Position, Position]]()
        for name, pairs in raw:
            fields = pairs if pairs[:END:2] == NAMES else _in_order(pairs)
            predecessor = fields[PREV]
            if predecessor is None:
                continue
            if predecessor != before:
                named = parse_position(predecessor)
                if _only_controls_are_missing(fields[EVENTS], last, named):
                    controls.append(ControlEntry(ControlAction.RECHECK, (EVERYONE,), "", named))
                    others.append((Position(last + 1), named))
                else:
                    if before:
                        yield Batch(prev, last, entries, controls, others)
                    prev, entries, controls, others = named, [], [], []
            before, last = name, parse_position(name)
            if fields[KIND] == b"event":
                entry = self._entry(last, fields)
                if len(pairs) > END:
                    entry.skip = _skip(pairs)
                    entry.trace = _optional(pairs, b"trace")
                    entry.swap = _optional(pairs, b"swap")
                entries.append(entry)
                continue
            others.append((last, last))
            if fields[KIND] == b"control":
                controls.append(_control(last, pairs, fields[EVENTS]))
        if before:
            yield Batch(prev, last, entries, controls, others)

    def _entry(self, position: Position, fields: Sequence[Any]) -> Entry:
        topics, type_, retry = fields[TOPICS], fields[TYPE], fields[RETRY]
        return Entry(
            position,
            self._topics.get(topics) or self._shared_topics(topics),
            fields[ID],
            self._types.setdefault(type_, type_) if type_ else None,
            fields[DATA],
            fields[FORM] == b"text",
            int(retry) if retry else None,
        )

    def _shared_topics(self, joined: bytes) -> tuple[str, ...]:
        if len(self._topics) >= self.MAX_SHARED:
            self._topics.clear()
            self._types.clear()
        topics = self._topics[joined] = tuple(joined.decode().split("\n"))
        return topics


def last_event(batch: Batch) -> Position:
    """The position of the last event up to the end of a batch; `START`, if it does not say so."""
    if batch.entries:
        return batch.entries[-1].position
    return batch.controls[-1].event if batch.controls else START


def _only_controls_are_missing(events: bytes | None, last: Position, named: Position) -> bool:
    """Whether the log deleted control entries, and no event, between `last` and the next entry.

    That entry names its predecessor and, in `events`, the last event before it.
    """
    return events is not None and last < named and _event_before(events) <= last


def _event_before(events: bytes | None) -> Position:
    """The last event before an entry, which names it in `events`."""
    return START if events is None else parse_position(events.split()[1])


def _in_order(pairs: Sequence[bytes]) -> list[Any]:
    """The fields of an entry, in the order that an event's fields have; None for a missing one."""
    values = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return [part for name in NAMES for part in (name, values.get(name))]


def _skip(pairs: Sequence[bytes]) -> frozenset[str] | None:
    """The subjects to skip. Few events have any, and only those events have the field."""
    names = _optional(pairs, b"skip")
    return frozenset(names.decode().split("\n")) if names else None


def _optional(pairs: Sequence[bytes], name: bytes) -> bytes:
    names = pairs[::2]
    return pairs[2 * names.index(name) + 1] if name in names else b""


def _control(position: Position, pairs: Sequence[bytes], events: bytes | None) -> ControlEntry:
    """An entry that this version cannot read is treated as an order to recheck everyone."""
    try:
        body = json.loads(pairs[pairs.index(b"body") + 1])
        return ControlEntry(
            ControlAction(body["order"]),
            tuple(map(str, body["subjects"])),
            str(body["reason"]),
            position,
            tuple(map(str, body.get("topics", ()))),
            str(body.get("namespace", "")),
            event=_event_before(events),
        )
    except (ValueError, LookupError, TypeError):
        return ControlEntry(ControlAction.RECHECK, (EVERYONE,), "", position)


class ReadSize:
    """How many entries to ask for: enough to catch up soon, and few enough to limit their bytes.

    A read is held in memory as a whole, and parsing it blocks the event loop. Redis takes no limit
    in bytes, so the number of entries follows from the last read: more entries if that read was
    full and small, fewer if it was large.
    """

    def __init__(self, *, first: int = FIRST_READ_ENTRIES, max_bytes: int = MAX_READ_BYTES) -> None:
        self.count = first
        self._max_bytes = max_bytes

    def adapt(self, raw: Sequence[Raw]) -> None:
        """Adapt to the entries of the last read, which may be fewer than it asked for."""
        if len(raw) < self.count:
            self.count = min(self.count, max(FIRST_READ_ENTRIES, 2 * len(raw)))
            return
        sample = raw[:: max(1, len(raw) // SAMPLED_ENTRIES)]
        measured = sum(len(part) for _, pairs in sample for part in pairs)
        size = measured * len(raw) // len(sample)
        if size * 2 <= self._max_bytes:
            self.count = min(MAX_READ_ENTRIES, 2 * self.count)
        elif size > self._max_bytes:
            self.count = max(MIN_READ_ENTRIES, self.count * self._max_bytes // size)


class Pages:
    """A part of the log, page by page: the command for the next page, and what its reply holds."""

    def __init__(self, stream: str, after: Position, until: Position, size: ReadSize) -> None:
        self.is_over = False
        self._reader = Reader()
        self._stream = stream
        self._position, self._end = after, format_position(until)
        self._size = size

    @property
    def command(self) -> list[Any]:
        start = f"({format_position(self._position)}"
        return ["XRANGE", self._stream, start, self._end, "COUNT", self._size.count]

    def batches(self, raw: Sequence[Raw]) -> Iterable[Batch]:
        """The batches of a page."""
        after = self._position
        self.is_over = len(raw) < self._size.count
        if raw:
            self._size.adapt(raw)
            self._position = parse_position(raw[-1][0])
        return self._reader.batch(raw, after)
