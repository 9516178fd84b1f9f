"""What is exported, as text: lines of CSV, or of JSON."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from io import StringIO
from typing import Any

from notifications.events import compact_json
from notifications.hub import encoders
from notifications.log.base import Entry
from notifications.log.cursors import (
    START,
    Cursor,
    Position,
    format_position,
    format_time,
    position_ms,
)
from notifications.streaming.csv import safe

COLUMNS = ("cursor", "time", "topics", "type", "id", "data")
SERVICE = "stream."


class Rendering(ABC):
    """Of one export, of one epoch, for who asked for these topics."""

    content_type: str
    head = b""

    def __init__(self, epoch: str, asked: Collection[str]) -> None:
        # What all cursors of an epoch begin with: there may be a million of them.
        self._prefix = str(Cursor(epoch, START)).removesuffix(format_position(START))
        self._asked = asked

    @abstractmethod
    def events(self, entries: Sequence[Entry]) -> bytes: ...

    @abstractmethod
    def signal(self, name: str, data: dict[str, Any], at: Position) -> bytes:
        """Words of the service's own, in the place of an event: `type` is `stream.…`."""

    def _cursor(self, at: Position) -> str:
        return self._prefix + format_position(at)


class Csv(Rendering):
    """A line each, as spreadsheets read it; the topics of an event are lines of one cell."""

    content_type = "text/csv; charset=utf-8"

    def __init__(self, epoch: str, asked: Collection[str]) -> None:
        super().__init__(epoch, asked)
        self._out = StringIO(newline="")
        self._writer = csv.writer(self._out)
        self.head = self._lines([COLUMNS])

    def events(self, entries: Sequence[Entry]) -> bytes:
        return self._lines([self._row(entry) for entry in entries])

    def signal(self, name: str, data: dict[str, Any], at: Position) -> bytes:
        return self._lines([(self._cursor(at), "", "", SERVICE + name, "", compact_json(data))])

    def _row(self, entry: Entry) -> Sequence[str]:
        topics = entry.topics
        if len(topics) > 1:
            topics = tuple(topic for topic in topics if topic in self._asked)
        return (
            self._cursor(entry.position),
            format_time(position_ms(entry.position)),
            safe("\n".join(topics)),
            safe(entry.type.decode()) if entry.type else "",
            safe(entry.id.decode()),
            safe(entry.data.decode()),
        )

    def _lines(self, rows: Sequence[Sequence[str]]) -> bytes:
        self._writer.writerows(rows)
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text.encode()


class Ndjson(Rendering):
    """A JSON object a line: the envelope of a stream, and the cursor."""

    content_type = "application/x-ndjson"

    def events(self, entries: Sequence[Entry]) -> bytes:
        return "".join(f"{self.event(entry)}\n" for entry in entries).encode()

    def event(self, entry: Entry) -> str:
        envelope = encoders.in_json(entry, self._asked)
        return f'{{"cursor":"{self._cursor(entry.position)}",{envelope[1:]}'

    def signal(self, name: str, data: dict[str, Any], at: Position) -> bytes:
        return f"{self.word(name, data, at)}\n".encode()

    def word(self, name: str, data: dict[str, Any], at: Position) -> str:
        rest: dict[str, Any] = {
            "id": None,
            "topics": [],
            "type": SERVICE + name,
            "time": None,
            "data": data,
        }
        return compact_json({"cursor": self._cursor(at), **rest})
