"""Rows of the outbox, as the relay reads them, and the events that wait in them. Pure code."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from notifications.events import Event, Swap, compact_json
from notifications.log.entries import Draft
from notifications.topics import NAMESPACE_END, bare_topic


@dataclass(slots=True)
class Row:
    """A row of the table. `oldest` reads the fields in this order."""

    pk: int
    key: UUID
    topics: str
    type: str
    name: str
    data: bytes
    is_text: bool
    retry: int | None
    swap: str
    per_topic: bool
    waiting: list[Any] = field(init=False, default_factory=list)
    """With `per_topic`: what each topic's event was given, and None once it waits no more."""
    fingerprint: str = field(init=False)
    idempotency_key: str = field(init=False)
    """Of all its events, which are parts of it."""

    def __post_init__(self) -> None:
        self.fingerprint = self.key.hex
        self.idempotency_key = f"outbox:{self.fingerprint}"

    def events(self) -> "list[WaitingEvent]":
        """The events that wait in the row. Raises `ValueError` if it cannot be read."""
        text = bytes(self.data).decode()
        topics = self.topics.split("\n")
        namespace = max(topic.rpartition(NAMESPACE_END)[0] for topic in topics)
        if not self.per_topic:
            data = text if self.is_text else json.loads(text)
            return [WaitingEvent(self, 0, topics, namespace, self.name, data)]
        self.waiting, id = json.loads(text), self.key.urn
        events = [
            WaitingEvent(self, n, (topic,), namespace, f"{id}#{n}", data)
            for n, (topic, data) in enumerate(zip(topics, self.waiting, strict=True))
            if data is not None
        ]
        if not events:
            raise ValueError("Nothing waits in this row.")
        return events

    def without(self, events: "Sequence[WaitingEvent]") -> bytes | None:
        """The data of the row once these wait no more; None if then nothing does."""
        if not self.per_topic:
            return None
        for event in events:
            self.waiting[event.number] = None
        if self.waiting.count(None) == len(self.waiting):
            return None
        return compact_json(self.waiting).encode()

    def only(self, event: "WaitingEvent") -> bytes:
        """The data of a row in which nothing else waits."""
        numbers = range(len(self.waiting))
        return compact_json([event.data if n == event.number else None for n in numbers]).encode()


@dataclass(slots=True)
class WaitingEvent:
    """An event that waits in a row. `data` is as it was written, and completed later."""

    row: Row
    number: int
    topics: Sequence[str]
    namespace: str
    id: str
    data: Any

    @property
    def key(self) -> tuple[UUID, int]:
        """What no other event of any outbox has."""
        return self.row.key, self.number

    def draft(self, data: Any) -> Draft:
        """The event with this data. Raises `ValueError` if that is no event."""
        row, type, retry = self.row, self.row.type or None, self.row.retry
        topics = tuple(map(bare_topic, self.topics)) if self.namespace else tuple(self.topics)
        if row.per_topic:
            event = Event.with_new_id(self.id, topics, data, type, retry)
        else:
            swap = Swap.parse(row.swap) if row.swap else None
            event = Event(topics=topics, data=data, type=type, id=self.id, retry=retry, swap=swap)
        # `named` is true even if the id was generated, because every attempt to publish the row
        # uses the same id.
        return Draft(
            *(event, row.idempotency_key, row.fingerprint),
            named=True,
            namespace=self.namespace,
            part=str(self.number) if row.per_topic else "",
        )
