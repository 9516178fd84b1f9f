"""What becomes of notifications: seen, read, archived, withdrawn, expired.

The rows are locked and changed first, and the events written after: so whoever changes the same
rows later also tells of it later.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Model, Q, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from notifications.errors import Invalid
from notifications.inbox.delivery.table import close_pushes
from notifications.inbox.events import by_recipient, write_changed
from notifications.inbox.locking import ids_in_batches, lock
from notifications.inbox.states import LISTED, UNREAD, State
from notifications.inbox.table import BATCH_ROWS, content_type, database, rows

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.inbox.models import Notification


class Action(StrEnum):
    """What a person does with notifications."""

    SEEN = "seen"
    READ = "read"
    UNREAD = "unread"
    ARCHIVE = "archive"


_FROM: dict[Action, Collection[State]] = {
    Action.SEEN: (State.UNSEEN,),
    Action.READ: UNREAD,
    Action.UNREAD: (State.READ,),
    Action.ARCHIVE: LISTED,
}
"""The states in which an action changes anything. So every action can be repeated."""


def mark(
    user: Model,
    action: Action | str,
    *,
    ids: Iterable[UUID] | None = None,
    up_to: int | None = None,
    category: str | None = None,
) -> int:
    """Mark notifications of a user, and return how many that has changed.

    Those with these `ids`; or all whose `number` is at most `up_to`, of one `category` or of all.
    What was not in the list yet is never marked. Raises `Invalid` without either.
    """
    action = Action(action)
    if (ids is None) == (up_to is None):
        raise Invalid("Give ids, or up_to: the number of the newest notification that is meant.")
    using = database()
    theirs = rows(using).filter(recipient_id=user.pk)
    meant = Q(state__in=_FROM[action])
    if ids is not None:
        # One that is being replaced counts, since the person means the row.
        meant &= Q(number__isnull=False)
        found = [theirs.filter(pk__in=some) for some in batched(sorted(ids), BATCH_ROWS)]
    else:
        meant &= Q(number__lte=up_to, pending=False)
        if category is not None:
            meant &= Q(category=category)
        found = [theirs]
    return _change(found, meant, _changes_of(action, timezone.now()), using)


def withdraw(
    recipients: Model | Iterable[Any] | None = None,
    *,
    kind: str | None = None,
    target: Model | None = None,
    group: str | None = None,
    replaces: str | None = None,
) -> int:
    """Take notifications back, from everybody or from these users, and return how many.

    Give at least one of `kind`, `target`, `group` and `replaces`: all that are given must match.
    """
    given: dict[str, Any] = {"kind": kind, "group": group, "replaces": replaces}
    matching = {name: value for name, value in given.items() if value is not None}
    using = database()
    if target is not None:
        matching |= {"target_type": content_type(target, using), "target_id": str(target.pk)}
    if not matching:
        raise Invalid("Say which: by kind, target, group or replaces.")
    meant = Q(**matching, state__in=(*LISTED, State.ARCHIVED, State.MUTED))
    found = rows(using)
    if recipients is not None:
        users: Any = [recipients] if isinstance(recipients, Model) else recipients
        found = found.filter(recipient__in=users)
    changes = {"state": State.WITHDRAWN, "withdrawn_at": timezone.now()}
    return _change([found], meant, changes, using)


def expire(*, using: str, now: datetime | None = None) -> int:
    """Expire the notifications whose time has come, and return how many.

    It takes a short transaction for each batch, and leaves for the next time what somebody else is
    changing.
    """
    now = now or timezone.now()
    due = Q(expires_at__lte=now, state__in=LISTED)
    changes = {"state": State.EXPIRED, "expired_at": now}
    total = 0
    for ids in ids_in_batches(rows(using).filter(due), order="expires_at"):
        with transaction.atomic(using=using):
            total += _change_some(ids, due, changes, using, wait=False)
    return total


def _changes_of(action: Action, now: datetime) -> dict[str, Any]:
    seen_at = Coalesce("seen_at", Value(now))
    match action:
        case Action.SEEN:
            return {"state": State.SEEN, "seen_at": now}
        case Action.READ:
            return {"state": State.READ, "seen_at": seen_at, "read_at": now}
        case Action.UNREAD:
            return {"state": State.SEEN, "read_at": None}
        case Action.ARCHIVE:
            return {"state": State.ARCHIVED, "seen_at": seen_at, "archived_at": now}


def _change(
    found: "Iterable[QuerySet[Notification]]", meant: Q, changes: dict[str, Any], using: str
) -> int:
    """Change those of the found rows that are meant, in batches within one transaction."""
    with transaction.atomic(using=using):
        return sum(
            _change_some(ids, meant, changes, using)
            for some in found
            for ids in ids_in_batches(some.filter(meant))
        )


def _change_some(
    ids: Sequence[UUID], meant: Q, changes: dict[str, Any], using: str, *, wait: bool = True
) -> int:
    locked = lock(ids, meant, ("recipient_id", "pk", "state"), using=using, wait=wait)
    if locked:
        changed = rows(using).filter(pk__in=[id for _, id, _ in locked])
        changed.update(**changes, version=F("version") + 1)
        shown = [(recipient, id) for recipient, id, state in locked if state != State.MUTED]
        write_changed(by_recipient(shown), using=using)
        # The relay has the others closed when it publishes their events.
        if muted := [id for _, id, state in locked if state == State.MUTED]:
            transaction.on_commit(partial(close_pushes, muted, using), using=using)
    return len(locked)
