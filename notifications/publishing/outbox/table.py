"""The tables of the outbox: publishing writes rows, and the relay reads and deletes them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.apps import apps
from django.db.models import QuerySet
from django.utils import timezone

from notifications.conf import namespace as namespaces
from notifications.events import Event, Swap
from notifications.log.entries import Draft
from notifications.publishing.outbox.clock import Now
from notifications.topics import NAMESPACE_END, bare_topic

if TYPE_CHECKING:
    from notifications.models import OutboxEvent, OutboxLease

MAX_COUNTED = 100_000
"""A larger backlog counts as this many: counting all of it would burden the database."""


@dataclass(frozen=True, slots=True)
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

    @property
    def idempotency_key(self) -> str:
        return f"outbox:{self.key.hex}"

    def draft(self) -> Draft:
        """Raises `ValueError` if the row is no event."""
        text = bytes(self.data).decode()
        topics = self.topics.split("\n")
        event = Event(
            topics=[bare_topic(topic) for topic in topics],
            data=text if self.is_text else json.loads(text),
            type=self.type or None,
            id=self.name,
            retry=self.retry,
            swap=Swap.parse(self.swap) if self.swap else None,
        )
        # `named` is true even if the id was generated, because every attempt to publish the row
        # uses the same id.
        namespace = max(topic.rpartition(NAMESPACE_END)[0] for topic in topics)
        return Draft(event, self.idempotency_key, self.key.hex, named=True, namespace=namespace)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The state of one database's outbox."""

    waiting: int
    """Events to be published, counted up to `MAX_COUNTED`."""
    age: float
    """How many seconds ago the oldest waiting event was written; 0 if none waits."""
    refused: int
    """Events that cannot be published, and wait for an operator."""
    relayed: bool
    """Whether a relay holds the lease."""


# Models by name, because `notifications` is imported before the models are loaded.


def outbox_events() -> "type[OutboxEvent]":
    return apps.get_model("carillon", "OutboxEvent")


def outbox_leases() -> "type[OutboxLease]":
    return apps.get_model("carillon", "OutboxLease")


def _waiting(using: str) -> "QuerySet[OutboxEvent]":
    # Every row, not the ids above the last one: ids do not follow the order of commits.
    return outbox_events().objects.using(using).filter(refused_at=None).order_by("pk")


def write(events: Iterable[Event], *, using: str) -> None:
    """Write the events in the open transaction, or at once without one."""
    model, namespace = outbox_events(), namespaces.current()
    rows = [
        model(
            topics="\n".join(namespaces.log_topics(namespace, event.topics)),
            type=event.type or "",
            name=event.id,
            data=event.encoded,
            is_text=event.is_text,
            retry=event.retry,
            swap="" if event.swap is None else str(event.swap),
        )
        for event in events
    ]
    with namespaces.enter(""):  # all tenants share one outbox, and so one relay
        model.objects.using(using).bulk_create(rows)


def oldest(using: str, count: int) -> list[Row]:
    """The rows to be published next, at most `count`."""
    columns = ("pk", "key", "topics", "type", "name", "data", "is_text", "retry", "swap")
    return [Row(*values) for values in _waiting(using).values_list(*columns)[:count]]


def delete(rows: Sequence[Row], *, using: str) -> None:
    """Delete rows that were published."""
    outbox_events().objects.using(using).filter(pk__in=[row.pk for row in rows]).delete()


def refuse(row: Row, reason: str, *, using: str) -> None:
    """Set the row aside, so that the rows after it can be published."""
    rows = outbox_events().objects.using(using).filter(pk=row.pk)
    rows.update(refused_at=timezone.now(), refusal=reason)


def retry_refused(using: str) -> int:
    """Have the relay try the refused events again, and return how many there are."""
    with namespaces.enter(""):
        refused = outbox_events().objects.using(using).exclude(refused_at=None)
        return refused.update(refused_at=None, refusal="")


def backlog(using: str, *, max_counted: int = MAX_COUNTED) -> Backlog:
    """The state of a database's outbox. It takes four queries, so no event loop may call it."""
    with namespaces.enter(""):
        return _backlog(using, max_counted)


def _backlog(using: str, max_counted: int) -> Backlog:
    waiting = _waiting(using)
    first = waiting.values_list("created_at", flat=True).first()
    refused = outbox_events().objects.using(using).exclude(refused_at=None)
    return Backlog(
        waiting=waiting[:max_counted].count(),
        age=0.0 if first is None else max(0.0, (timezone.now() - first).total_seconds()),
        refused=refused[:max_counted].count(),
        relayed=outbox_leases().objects.using(using).filter(expires_at__gt=Now()).exists(),
    )
