"""Records: events as the log and the window hold them, and as they are decoded."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from notifications.log.cursors import Position

type Record = tuple[Position, tuple[str, ...], bytes]
"""An event as the log and the window hold it: its position, its topics, and all else as one value.

A plain tuple, and its content undecoded: every process reads every event, and wants few of them.
"""


def record_size(record: Record) -> int:
    """Bytes, as retention counts them."""
    _, topics, content = record
    return len(content) + sum(map(len, topics))


@dataclass(slots=True)
class Entry:
    """An event of the log, decoded because somebody wants it.

    The class is not frozen, because a frozen object takes longer to make. `skip`: the subjects that
    do not get this event, although they subscribe to one of its topics.
    """

    position: Position
    topics: tuple[str, ...]
    id: bytes
    type: bytes | None
    data: bytes
    is_text: bool
    retry: int | None
    skip: frozenset[str] | None = None
    trace: bytes = b""
    """The `traceparent` of the publication (W3C Trace Context), or nothing."""
    swap: bytes = b""
    """Of an event that is marked as HTML, its `Swap` as text. No request can set this mark."""

    @classmethod
    def of(cls, record: Record) -> "Entry":
        position, topics, content = record
        _, id, form, type, retry, trace, swap, skip, data = content.split(b"\n", 8)
        return cls(
            position,
            topics,
            id,
            type or None,
            data,
            form == b"text",
            int(retry) if retry else None,
            frozenset(skip.decode().split("\t")) if skip else None,
            trace,
            swap,
        )

    @property
    def record(self) -> Record:
        """As the script writes it, whose first line is the `mark` of a draft (`append.lua`)."""
        lines = (
            b"",
            self.id,
            b"text" if self.is_text else b"json",
            self.type or b"",
            b"" if self.retry is None else b"%d" % self.retry,
            self.trace,
            self.swap,
            "\t".join(sorted(self.skip or ())).encode(),
            self.data,
        )
        return self.position, self.topics, b"\n".join(lines)


def decode(records: Iterable[Record], topics: Set[str]) -> Iterator[Entry]:
    """The events that have at least one of these topics. No other is decoded."""
    return (Entry.of(record) for record in records if not topics.isdisjoint(record[1]))
