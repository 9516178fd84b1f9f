"""Reading the stream: raw entries as batches, and how many to ask for at once."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from notifications.log.cursors import (
    START,
    Position,
    format_position,
    parse_position,
    parse_positions,
)
from notifications.log.entries import EVERYONE, Batch, ControlAction, ControlEntry
from notifications.log.records import Record

type Raw = Sequence[Any]
"""A stream entry as Redis returns it: its position `<ms>-<n>`, and a list of header and content."""

_LINK = re.compile(rb"(\d+-\d+) ([a-z]+) \d+ \d+ (\d+-\d+)")
"""The last line of a header: the predecessor, the kind, and the last event before (`log.lua`)."""
_NOTHING = b" "
"""No link begins so."""

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

    def batch(self, raw: Sequence[Raw], after: Position = START) -> Iterable[Batch]:
        """Yield a batch for each run of entries that name each other as predecessors.

        A run continues where only control entries are missing, and everyone is rechecked in their
        stead; `after` is the position up to which the caller has read. An entry of an unknown kind
        belongs to its batch, but is neither an event nor a control entry. Entries that others wrote
        are skipped.
        """
        prev, last, expected = after, after, _NOTHING
        records, controls = list[Record](), list[ControlEntry]()
        others = list[tuple[Position, Position]]()
        positions = parse_positions([name for name, _ in raw])
        for position, (name, fields) in zip(positions, raw, strict=True):
            topics, _, link = fields[0].rpartition(b"\n")
            if not link.startswith(expected):
                match = _LINK.fullmatch(link)
                if match is None:
                    continue
                named = parse_position(match[1])
                if last < named and parse_position(match[3]) <= last:
                    # The log deleted control entries in between, and no event.
                    controls.append(ControlEntry(ControlAction.RECHECK, (EVERYONE,), "", named))
                    others.append((Position(last + 1), named))
                else:
                    if expected != _NOTHING:
                        yield Batch(prev, last, records, controls, others)
                    prev, records, controls, others = named, [], [], []
            expected, last = name + b" ", position
            if topics:
                shared = self._topics.get(topics) or self._shared_topics(topics)
                records.append((position, shared, fields[1]))
                continue
            others.append((position, position))
            match = _LINK.fullmatch(link)
            if match and match[2] == b"control":
                controls.append(_control(position, fields[1], parse_position(match[3])))
        if expected != _NOTHING:
            yield Batch(prev, last, records, controls, others)

    def _shared_topics(self, joined: bytes) -> tuple[str, ...]:
        if len(self._topics) >= self.MAX_SHARED:
            self._topics.clear()
        topics = self._topics[joined] = tuple(joined.decode().split("\n"))
        return topics


def last_event(batch: Batch) -> Position:
    """The position of the last event up to the end of a batch; `START`, if it does not say so."""
    if batch.records:
        return batch.records[-1][0]
    return batch.controls[-1].event if batch.controls else START


def _control(position: Position, content: bytes, event_before: Position) -> ControlEntry:
    """An entry that this version cannot read is treated as an order to recheck everyone."""
    try:
        body = json.loads(content)
        return ControlEntry(
            ControlAction(body["order"]),
            tuple(map(str, body["subjects"])),
            str(body["reason"]),
            position,
            tuple(map(str, body.get("topics", ()))),
            str(body.get("namespace", "")),
            event=event_before,
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
        self._was_full = False
        self._max_bytes = max_bytes

    def adapt(self, raw: Sequence[Raw]) -> None:
        """Adapt to the entries of the last read, which may be fewer than it asked for."""
        was_full, self._was_full = self._was_full, len(raw) >= self.count
        if not self._was_full:
            # After a full read, few entries are what that has left of a publisher's batch.
            if not was_full:
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
