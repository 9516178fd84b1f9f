"""Reading what the script has written: raw stream entries as batches."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from notifications.log.base import EVERYONE, Batch, Control, Entry, Order
from notifications.log.cursors import START, Position, parse_position

type Raw = Sequence[Any]
"""A stream entry as Redis gives it: its name `<ms>-<n>`, and a list of names and values."""

# The fields of an event in the order in which the script writes them: what every process reads of
# every event is found by its place, which is twice as fast as by its name. A mark may follow.
EVENT = [b"kind", b"prev", b"at", b"topics", b"id", b"type", b"data", b"form", b"retry"]
KIND, PREV = 1, 3


class Reader:
    """Turns raw stream entries into batches, sharing what repeats from entry to entry."""

    MAX_SHARED = 10_000

    def __init__(self) -> None:
        self._topics: dict[bytes, tuple[str, ...]] = {}
        self._types: dict[bytes, bytes] = {}

    def batch(self, raw: Iterable[Raw]) -> Iterable[Batch]:
        """Batches, one for each run of entries that name each other; unknown kinds only join.

        Entries that are not ours (no `prev`) are passed over.
        """
        prev = last = START
        before = b""
        entries: list[Entry] = []
        controls: list[Control] = []
        for name, given in raw:
            fields = given if given[: 2 * len(EVENT) : 2] == EVENT else _in_order(given)
            said = fields[PREV]
            if said is None:
                continue
            if said != before:
                if before:
                    yield Batch(prev, last, entries, controls)
                prev, entries, controls = parse_position(said), [], []
            before, last = name, parse_position(name)
            if fields[KIND] == b"event":
                entry = self._entry(last, fields)
                if len(given) > 2 * len(EVENT):
                    entry.skip = _skipped(given)
                entries.append(entry)
            elif fields[KIND] == b"control":
                controls.append(_control(last, given))
        if before:
            yield Batch(prev, last, entries, controls)

    def _entry(self, position: Position, fields: Sequence[Any]) -> Entry:
        type_, retry = fields[11], fields[17]
        return Entry(
            position,
            self._topics.get(fields[7]) or self._shared_topics(fields[7]),
            fields[9],
            self._types.setdefault(type_, type_) if type_ else None,
            fields[13],
            fields[15] == b"text",
            int(retry) if retry else None,
        )

    def _shared_topics(self, joined: bytes) -> tuple[str, ...]:
        if len(self._topics) >= self.MAX_SHARED:
            self._topics.clear()
            self._types.clear()
        topics = self._topics[joined] = tuple(joined.decode().split("\n"))
        return topics


def _in_order(given: Sequence[bytes]) -> list[Any]:
    """The fields of an entry where those of an event are; what it does not have is None."""
    named = dict(zip(given[::2], given[1::2], strict=True))
    return [each for name in EVENT for each in (name, named.get(name))]


def _skipped(given: Sequence[bytes]) -> frozenset[str] | None:
    """Few events pass anybody over, and only they have this field."""
    if b"skip" not in given[::2]:
        return None
    return frozenset(given[2 * given[::2].index(b"skip") + 1].decode().split("\n"))


def _control(position: Position, fields: Sequence[bytes]) -> Control:
    """An order that this version does not know must not be passed over: all are asked again."""
    try:
        said = json.loads(fields[fields.index(b"body") + 1])
        return Control(
            Order(said["order"]),
            tuple(map(str, said["subjects"])),
            str(said["reason"]),
            position,
            tuple(map(str, said.get("topics", ()))),
        )
    except (ValueError, KeyError, TypeError):
        return Control(Order.RECHECK, (EVERYONE,), "", position)


# How much of the log is asked for at once.


FEWEST, FIRST, MOST = 8, 100, 500
BYTES = 4 * 1024 * 1024
SAMPLE = 32
"""So many entries of a read are measured: this is asked of every one."""


class ReadSize:
    """So many entries that a lag is soon made up for, and so few that they are not too many bytes.

    A read is held in memory as a whole, and parsed while everything else waits. Nobody can ask for
    bytes, so this goes by the last read: more if that was full and small, fewer if it was large.
    """

    def __init__(self, *, first: int = FIRST, most_bytes: int = BYTES) -> None:
        self.count = first
        self._most_bytes = most_bytes

    def took(self, raw: Sequence[Raw]) -> None:
        """What the last read brought, which may have been less than it asked for."""
        if len(raw) < self.count:
            self.count = min(self.count, max(FIRST, 2 * len(raw)))
            return
        sample = raw[:: max(1, len(raw) // SAMPLE)]
        measured = sum(len(value) for _, given in sample for value in given)
        size = measured * len(raw) // len(sample)
        if size * 2 <= self._most_bytes:
            self.count = min(MOST, 2 * self.count)
        elif size > self._most_bytes:
            self.count = max(FEWEST, self.count * self._most_bytes // size)
