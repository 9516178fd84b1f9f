"""The formats of an export: CSV, and newline-delimited JSON."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

from notifications.events import compact_json
from notifications.hub import encoders
from notifications.log.cursors import (
    START,
    Cursor,
    Position,
    format_position,
    format_time,
    position_ms,
)
from notifications.log.records import Entry
from notifications.streaming.csv import CsvEncoder, escape_formula
from notifications.topics import NAMESPACE_END, bare_topic

COLUMNS = ("cursor", "time", "topics", "type", "id", "data")
SIGNAL_PREFIX = "stream."


class ExportFormat(ABC):
    """Encodes one export of one epoch, for a client that asked for these topics."""

    content_type: str
    head = b""

    def __init__(self, epoch: str, topics: Collection[str]) -> None:
        # All cursors of an epoch have this prefix, and there may be a million of them.
        self._prefix = str(Cursor(epoch, START)).removesuffix(format_position(START))
        self._topics = topics

    @abstractmethod
    def events(self, entries: Sequence[Entry]) -> bytes: ...

    @abstractmethod
    def signal(self, name: str, data: dict[str, Any], at: Position) -> bytes:
        """A signal of the service, encoded as an event whose `type` is `stream.…`."""

    def _cursor(self, at: Position) -> str:
        return self._prefix + format_position(at)


class CsvFormat(ExportFormat):
    """A row per event, for spreadsheets. The topics of an event are the lines of one cell."""

    content_type = "text/csv; charset=utf-8"

    def __init__(self, epoch: str, topics: Collection[str]) -> None:
        super().__init__(epoch, topics)
        self._encode = CsvEncoder().encode
        self.head = self._encode([COLUMNS])

    def events(self, entries: Sequence[Entry]) -> bytes:
        return self._encode([self._row(entry) for entry in entries])

    def signal(self, name: str, data: dict[str, Any], at: Position) -> bytes:
        row = (self._cursor(at), "", "", SIGNAL_PREFIX + name, "", compact_json(data))
        return self._encode([row])

    def _row(self, entry: Entry) -> Sequence[str]:
        topics = entry.topics
        if len(topics) > 1:
            topics = tuple(topic for topic in topics if topic in self._topics)
        if NAMESPACE_END in topics[-1]:
            topics = tuple(map(bare_topic, topics))
        return (
            self._cursor(entry.position),
            format_time(position_ms(entry.position)),
            escape_formula("\n".join(topics)),
            escape_formula(entry.type.decode()) if entry.type else "",
            escape_formula(entry.id.decode()),
            escape_formula(entry.data.decode()),
        )


class NdjsonFormat(ExportFormat):
    """A JSON object per line: the envelope of a stream, and the cursor."""

    content_type = "application/x-ndjson"

    def events(self, entries: Sequence[Entry]) -> bytes:
        return "".join(f"{self.event_json(entry)}\n" for entry in entries).encode()

    def signal(self, name: str, data: dict[str, Any], at: Position) -> bytes:
        return f"{self.signal_json(name, data, at)}\n".encode()

    def event_json(self, entry: Entry) -> str:
        envelope = encoders.envelope_json(entry, self._topics)
        return f'{{"cursor":"{self._cursor(entry.position)}",{envelope[1:]}'

    def signal_json(self, name: str, data: dict[str, Any], at: Position) -> str:
        return compact_json(
            {
                "cursor": self._cursor(at),
                "id": None,
                "topics": [],
                "type": SIGNAL_PREFIX + name,
                "time": None,
                "data": data,
            }
        )


FORMATS: dict[str, type[ExportFormat]] = {"csv": CsvFormat, "ndjson": NdjsonFormat}
"""The formats of a file, by the suffix of its URL. Pages (`.json`) use `NdjsonFormat` too."""
