"""The table of the outbox: what publishing writes, and the relay reads and deletes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.apps import apps
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from notifications.events import Event
from notifications.log.base import Draft

if TYPE_CHECKING:
    from notifications.models import OutboxEvent, OutboxLease

MAX_COUNTED = 100_000
"""A backlog of more is this many: counting them all would be a load of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """As it is in the table, its fields in the order in which they are read."""

    pk: int
    key: UUID
    topics: str
    type: str
    name: str
    data: bytes
    is_text: bool
    retry: int | None

    @property
    def idempotency_key(self) -> str:
        return f"outbox:{self.key.hex}"

    def draft(self) -> Draft:
        """Raises `ValueError` where this is no event."""
        text = bytes(self.data).decode()
        event = Event(
            topics=self.topics.split("\n"),
            data=text if self.is_text else json.loads(text),
            type=self.type or None,
            id=self.name,
            retry=self.retry,
        )
        # Named, whoever made the name: the same row may be in several calls.
        return Draft(event, self.idempotency_key, self.key.hex, named=True)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How one database's outbox is doing."""

    waiting: int
    """Events to be published, counted up to 100,000."""
    age: float
    """How many seconds ago the oldest of them was written; 0 without any."""
    refused: int
    """Events that cannot be published, and wait for somebody to look at them."""
    relayed: bool
    """Whether a relay holds the lease."""


# By their names, since `notifications` is imported before there are models.


def events() -> "type[OutboxEvent]":
    return apps.get_model("carillon", "OutboxEvent")


def leases() -> "type[OutboxLease]":
    return apps.get_model("carillon", "OutboxLease")


def _waiting(using: str) -> "QuerySet[OutboxEvent]":
    # All that are there, and not those after the last: ids do not follow the order of commits.
    return events().objects.using(using).filter(refused_at=None).order_by("pk")


def write(given: Iterable[Event], *, using: str) -> None:
    """In the transaction that is open, or at once without one."""
    model = events()
    model.objects.using(using).bulk_create(
        model(
            topics="\n".join(event.topics),
            type=event.type or "",
            name=event.id,
            data=event.encoded,
            is_text=event.is_text,
            retry=event.retry,
        )
        for event in given
    )


def oldest(using: str, count: int) -> list[Row]:
    """Those to be published next."""
    columns = ("pk", "key", "topics", "type", "name", "data", "is_text", "retry")
    return [Row(*values) for values in _waiting(using).values_list(*columns)[:count]]


def delete(rows: Sequence[Row], *, using: str) -> None:
    """They were published."""
    events().objects.using(using).filter(pk__in=[row.pk for row in rows]).delete()


def refuse(row: Row, why: str, *, using: str) -> None:
    """Set it aside, so that it holds up nobody."""
    found = events().objects.using(using).filter(pk=row.pk)
    found.update(refused_at=timezone.now(), refusal=why)


def retry_refused(using: str) -> int:
    """Have the relay try once more what was refused, and say how many that is."""
    refused = events().objects.using(using).exclude(refused_at=None)
    return refused.update(refused_at=None, refusal="")


def backlog(using: str) -> Backlog:
    """Asks the database, three times: not from an event loop."""
    waiting = _waiting(using)
    first = waiting.values_list("created_at", flat=True).first()
    return Backlog(
        waiting=waiting[:MAX_COUNTED].count(),
        age=0.0 if first is None else max(0.0, (timezone.now() - first).total_seconds()),
        refused=events().objects.using(using).exclude(refused_at=None)[:MAX_COUNTED].count(),
        relayed=leases().objects.using(using).filter(expires_at__gt=Now()).exists(),
    )
