"""How notifications end: they expire, grow old, or are erased with their person's data."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import OperationalError, connections, transaction
from django.db.models import Model, Q
from django.utils import timezone

from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.inbox.changes import expire
from notifications.inbox.delivery.table import delete_of, delete_old
from notifications.inbox.events import INBOX_TYPE, by_recipient, write_changed, write_new
from notifications.inbox.kinds import categories
from notifications.inbox.locking import ids_in_batches, lock
from notifications.inbox.states import LISTED, State
from notifications.inbox.table import content_type, rows
from notifications.publishing.outbox.table import outbox_events

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

LATE = timedelta(minutes=10)
"""A notification that has no number after this time is published again."""
LATEST = timedelta(days=7)
"""An older one is not looked for: that would read the whole table each time."""

_ENDED = {
    State.ARCHIVED: "archived_at",
    State.WITHDRAWN: "withdrawn_at",
    State.EXPIRED: "expired_at",
}


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many notifications were expired, deleted, and published again."""

    expired: int
    deleted: int
    published_again: int


def tidy(using: str, *, now: datetime | None = None) -> Tidied:
    """Expire what is due, delete what is old, and publish again what no relay has numbered.

    It takes a short transaction for each batch, and never waits for another one: it can run at any
    time, also twice at once. Raises what the database raises.
    """
    now = now or timezone.now()
    expired = expire(using=using, now=now)
    # In the order of the index, so that a batch reads no more than it deletes.
    deleted = sum(_delete(old, using, order="created_at") for old in _old(now))
    delete_old(using, before=now - timedelta(seconds=get_settings().INBOX_AGE))
    return Tidied(expired, deleted, _publish_again(now, using))


def _old(now: datetime) -> Iterator[Q]:
    """Each condition has a limit of `created_at`, which is the column with an index."""
    settings = get_settings()
    kept = {category.name: category.keep for category in categories() if category.keep is not None}
    by_default = Q(created_at__lt=now - timedelta(seconds=settings.INBOX_AGE))
    yield by_default & ~Q(category__in=list(kept)) if kept else by_default
    for name, age in kept.items():
        yield Q(category=name, created_at__lt=now - age)
    limit = now - timedelta(seconds=settings.INBOX_ARCHIVED_AGE)
    for state, column in _ENDED.items():
        yield Q(**{"created_at__lt": limit, "state": state, f"{column}__lt": limit})


def _delete(meant: Q, using: str, *, order: str = "pk", wait: bool = False) -> int:
    found = ids_in_batches(rows(using).filter(meant), order=order)
    return sum(_delete_some(ids, meant, using, wait=wait) for ids in found)


def _delete_some(ids: Sequence[UUID], meant: Q, using: str, *, wait: bool) -> int:
    """Delete a batch, and tell the people in whose lists some of these were.

    InnoDB reads the whole of a small table to delete some of its rows, so two that delete at once
    may wait for each other, and one of them is sent back.
    """
    for is_last in (False, False, True):
        try:
            return _try_to_delete(ids, meant, using, wait=wait)
        except OperationalError:
            if is_last or connections[using].in_atomic_block:
                raise
    raise AssertionError


def _try_to_delete(ids: Sequence[UUID], meant: Q, using: str, *, wait: bool) -> int:
    with transaction.atomic(using=using):
        columns = ("recipient_id", "pk", "state", "number")
        locked = lock(ids, meant, columns, using=using, wait=wait)
        rows(using).filter(pk__in=[id for _, id, _, _ in locked]).delete()
        listed = [
            (recipient, id)
            for recipient, id, state, number in locked
            if state in LISTED and number is not None
        ]
        write_changed(by_recipient(listed), using=using)
    delete_of([id for _, id, _, _ in locked], using)
    return len(locked)


def _publish_again(now: datetime, using: str) -> int:
    """Write events for notifications whose own were lost, such as in an outbox that was emptied."""
    late = now - LATE
    if _is_relay_behind(late, using):
        return 0
    lost = rows(using).filter(pending=True, created_at__lt=late, created_at__gte=now - LATEST)
    total = 0
    for ids in ids_in_batches(lost):
        some = rows(using).filter(pk__in=ids).values_list("recipient_id", "pk")
        write_new(list(some), using=using)
        total += len(ids)
    return total


def _is_relay_behind(late: datetime, using: str) -> bool:
    """Whether events of inboxes still wait from then: nothing is lost that has not been tried."""
    with namespaces.enter(""):  # all tenants share one outbox
        waiting = outbox_events().objects.using(using).filter(type=INBOX_TYPE, refused_at=None)
        return waiting.filter(created_at__lt=late).exists()


# One person


def erase(user: Model, *, using: str) -> int:
    """Delete all notifications of a user, and return how many. Open pages are told."""
    return _delete(Q(recipient_id=user.pk), using, wait=True)


def erase_as_actor(user: Model, *, using: str) -> int:
    """Delete those of other people in which the user is the actor, and return how many."""
    return _delete(_of_others(user, using), using, wait=True)


def count_as_actor(user: Model, *, using: str) -> int:
    """How many `erase_as_actor` would delete."""
    return rows(using).filter(_of_others(user, using)).count()


def _of_others(user: Model, using: str) -> Q:
    by_user = Q(actor_type=content_type(user, using), actor_id=str(user.pk))
    return by_user & ~Q(recipient_id=user.pk)


def columns_of(row: "Notification") -> dict[str, Any]:
    """All that is stored of a notification, for its person: names in place of numbers."""
    row_fields: Iterable[Any] = row._meta.concrete_fields  # noqa: SLF001 - documented
    values = {field.attname: getattr(row, field.attname) for field in row_fields}
    for name in ("actor_type", "target_type"):
        type = getattr(row, name)
        values.pop(f"{name}_id")
        values[name] = None if type is None else f"{type.app_label}.{type.model}"
    return values | {"state": State(row.state).word}
