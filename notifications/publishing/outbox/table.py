"""The tables of the outbox: publishing writes rows, and the relay reads and deletes them."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.events import Event, compact_json
from notifications.publishing.outbox.clock import Now
from notifications.publishing.outbox.rows import Row, WaitingEvent

if TYPE_CHECKING:
    from notifications.models import OutboxEvent, OutboxLease

MAX_COUNTED = 100_000
"""A larger backlog counts as this many: counting all of it would burden the database."""


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
    """Write the events in the open transaction, or at once without one.

    Raises `ValueError` if no relay reads the outbox of this database.
    """
    _check_relayed(using)
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


def write_per_topic(given: Sequence[tuple[str, Any]], *, type: str, using: str) -> None:
    """Write an event for each of these topics, with its data, as one row.

    A topic may be there twice. The data is not None, and all of it is in memory at once whenever
    the row is read. Whether these are valid events is checked when they are published. Raises as
    `write`.
    """
    _check_relayed(using)
    namespace, key = namespaces.current(), uuid.uuid4()
    row = outbox_events()(
        key=key,
        topics="\n".join(namespaces.log_topics(namespace, (topic for topic, _ in given))),
        type=type,
        name=key.urn,
        data=compact_json([data for _, data in given]).encode(),
        is_text=False,
        per_topic=True,
    )
    with namespaces.enter(""):
        row.save(using=using, force_insert=True)


def _check_relayed(using: str) -> None:
    if using not in (relayed := get_settings().OUTBOX_DATABASES):
        raise ValueError(
            f"No relay reads the outbox of the database {using!r}: "
            f"CARILLON['OUTBOX_DATABASES'] is {list(relayed)}."
        )


def is_any_waiting(using: str) -> bool:
    """Whether a row is to be published. Mostly it costs a quarter of what `oldest` does."""
    with connections[using].cursor() as cursor:
        cursor.execute(*_look(using))
        return cursor.fetchone() is not None


@cache
def _look(using: str) -> tuple[str, Sequence[Any]]:
    """A statement: to make it takes Django longer than the database needs for its answer."""
    sql, params = _waiting(using).order_by().values("pk")[:1].query.get_compiler(using).as_sql()
    return sql, params


def oldest(using: str, count: int) -> list[Row]:
    """The rows to be published next, at most `count`."""
    columns = (
        *("pk", "key", "topics", "type", "name", "data", "is_text", "retry", "swap"),
        "per_topic",
    )
    return [Row(*values) for values in _waiting(using).values_list(*columns)[:count]]


def remove(events: Sequence[WaitingEvent], *, using: str) -> list[Row]:
    """Take events that were published from the outbox, and return the rows that are gone.

    A row that another relay has changed meanwhile stays: its events are published again, under
    their keys.
    """
    by_row: defaultdict[int, list[WaitingEvent]] = defaultdict(list)
    for event in events:
        by_row[event.row.pk].append(event)
    empty = list[Row]()
    for some in by_row.values():
        row = some[0].row
        left = row.without(some)
        if left is None:
            empty.append(row)
        else:
            _replace_data(row, left, using)
    if empty:
        outbox_events().objects.using(using).filter(pk__in=[row.pk for row in empty]).delete()
    return empty


def _replace_data(row: Row, data: bytes, using: str) -> bool:
    """False if the row is not as it was read: then another relay has changed it."""
    same = outbox_events().objects.using(using).filter(pk=row.pk, data=row.data)
    if not same.update(data=data):
        return False
    row.data = data
    return True


def refuse(event: WaitingEvent, reason: str, *, using: str) -> None:
    """Set an event aside, so that the others can be published."""
    row, alone = event.row, event.row.only(event)
    left = row.without([event])
    if left is None:
        refuse_row(row, reason, using=using)
        return
    with transaction.atomic(using=using):
        if _replace_data(row, left, using):
            outbox_events().objects.using(using).create(
                **{each: getattr(row, each) for each in ("key", "topics", "type", "name")},
                data=alone,
                is_text=False,
                per_topic=True,
                refused_at=timezone.now(),
                refusal=reason,
            )
        else:
            row.waiting[event.number] = event.data  # it still does


def refuse_row(row: Row, reason: str, *, using: str) -> None:
    """Set a row aside, with all events that wait in it."""
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
