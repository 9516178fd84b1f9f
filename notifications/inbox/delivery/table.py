"""The rows of deliveries: `notify` writes them, and deliverers lease them and note what became."""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.apps import apps
from django.db import connections, transaction
from django.db.models import Q
from django.utils import timezone

from notifications.inbox.channels import Channel
from notifications.inbox.delivery.states import LEASED, DeliveryState, Outcome, Reason
from notifications.inbox.inserting import insert_alike
from notifications.inbox.kinds import Kind, delays, is_asked_for
from notifications.inbox.preferences.times import aware, stored
from notifications.inbox.table import APP_LABEL, BATCH_ROWS
from notifications.publishing.outbox.clock import Now
from notifications.publishing.outbox.table import MAX_COUNTED

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.inbox.models import Delivery, Device

WINDOWS = (1, 4, 16)
"""How many times the wanted number of due rows are looked at, while others take them away."""


def deliveries() -> "type[Delivery]":
    return apps.get_model(APP_LABEL, "Delivery")


def delivery_rows(using: str) -> "QuerySet[Delivery]":
    return deliveries().objects.using(using)


def reachable(channel: Channel, recipients: Collection[Any], using: str) -> Collection[Any]:
    """Those for whom it is worth a row: few people have devices, and nearly all an address."""
    if channel is not Channel.PUSH:
        return recipients
    devices: type[Device] = apps.get_model(APP_LABEL, "Device")
    found = devices.objects.using(using).filter(recipient_id__in=recipients)
    return set(found.values_list("recipient_id", flat=True))


def write_deliveries(
    kind: Kind, written: Mapping[Any, UUID], *, created_at: datetime, using: str
) -> None:
    """Write a row for each channel that the kind asks for, and each notification: at once."""
    asked_for = delays(kind)
    if not asked_for:
        return
    for channel, delay in asked_for.items():
        reached = reachable(channel, written, using)
        addressed = {recipient: id for recipient, id in written.items() if recipient in reached}
        if addressed:
            alike = deliveries()(
                channel=channel, about=created_at, created_at=created_at, due_at=created_at + delay
            )
            varying = {
                "id": [uuid4() for _ in addressed],
                "recipient": addressed.keys(),
                "notification": addressed.values(),
            }
            insert_alike(alike, varying, using=using)


# Leases, whose times are those of the database's clock


def _free() -> Q:
    expired = Q(leased_until=None) | Q(leased_until__lte=Now())
    return Q(state__in=LEASED) & expired


def due(using: str, now: datetime) -> "QuerySet[Delivery]":
    """What nobody sends yet although its time has come, the oldest first."""
    return delivery_rows(using).filter(_free(), due_at__lte=stored(now)).order_by("due_at", "pk")


def lease(
    using: str,
    now: datetime,
    *,
    channels: Collection[Channel] = tuple(Channel),
    holder: str,
    seconds: float,
    count: int,
) -> "Sequence[Delivery]":
    """Lease rows that are due, at most `count`. Nobody waits for another's transaction."""
    found = due(using, now).filter(channel__in=channels)
    for window in WINDOWS:
        ids = list(found.values_list("pk", flat=True)[: count * window])
        if not ids:
            return ()
        some = random.sample(ids, min(count, len(ids))) if window > 1 else ids
        if leased := _lease_some(using, some, holder=holder, seconds=seconds):
            return leased
    return ()


def _lease_some(
    using: str, ids: Sequence[UUID], *, holder: str, seconds: float
) -> "Sequence[Delivery]":
    features = connections[using].features
    with transaction.atomic(using=using):
        free = delivery_rows(using).filter(_free(), pk__in=ids)
        if features.has_select_for_update:
            can_skip = features.has_select_for_update_skip_locked
            locked = free.select_for_update(skip_locked=can_skip).order_by("pk")
            ids = list(locked.values_list("pk", flat=True))
        # Where rows cannot be locked, the condition of the update is what decides.
        until = Now() + timedelta(seconds=seconds)
        free = delivery_rows(using).filter(_free(), pk__in=ids)
        free.update(holder=holder, leased_until=until)
    ours = delivery_rows(using).filter(pk__in=ids, holder=holder, state__in=LEASED)
    return list(ours.order_by("due_at", "pk"))


def renew(row: "Delivery", using: str, *, holder: str, seconds: float) -> bool:
    """Renew the lease of a row, unless it has expired and somebody else has the row."""
    ours = delivery_rows(using).filter(pk=row.pk, holder=holder, state__in=LEASED)
    return bool(ours.update(leased_until=Now() + timedelta(seconds=seconds)))


_RELEASED = {"holder": "", "leased_until": None}


def release(rows: "Iterable[Delivery]", using: str, *, holder: str) -> None:
    """Let others have these rows at once."""
    ids = [row.pk for row in rows]
    delivery_rows(using).filter(pk__in=ids, holder=holder).update(**_RELEASED)


# What became of a row


def postpone(
    row: "Delivery", using: str, *, until: datetime, reason: Reason, detail: str = ""
) -> None:
    delivery_rows(using).filter(pk=row.pk).update(
        due_at=stored(until),
        reason=reason,
        detail=detail,
        attempts=row.attempts,
        reached=row.reached,
        **_RELEASED,
    )


def end(row: "Delivery", using: str, outcome: Outcome) -> None:
    """Note what became of a row, whoever has its lease by now: it has happened."""
    delivery_rows(using).filter(pk=row.pk).update(reached=row.reached, **ended(outcome))


def ended(outcome: Outcome) -> dict[str, Any]:
    """The columns of a row that has ended."""
    return {
        "state": outcome.state,
        "reason": outcome.reason or "",
        "detail": outcome.detail,
        "ended_at": stored(outcome.ended_at),
        **_RELEASED,
    }


def close_pushes(notifications: Collection[UUID], using: str) -> None:
    """Have the push messages about these notifications disappear from the devices.

    Call it after it is committed that they are not unseen any more: what is only being sent is
    closed by who sends it, and looks at the notification for that.
    """
    if not notifications or not is_asked_for(Channel.PUSH):
        return
    now = stored(timezone.now())
    for some in batched(notifications, BATCH_ROWS):
        pushes = delivery_rows(using).filter(notification__in=some, channel=Channel.PUSH)
        sent = pushes.filter(state=DeliveryState.SENT)
        sent.update(state=DeliveryState.CLOSING, due_at=now, attempts=0)
        # These have perhaps reached some of the devices, and end at the next look.
        pushes.filter(state=DeliveryState.WAITING, attempts__gt=0).update(due_at=now)


def closing(recipient_id: Any, using: str, *, count: int) -> "Sequence[Delivery]":
    """The messages of one person that are to disappear, whoever has leased them."""
    found = delivery_rows(using).filter(recipient_id=recipient_id, state=DeliveryState.CLOSING)
    return list(found.order_by("due_at", "pk")[:count])


def end_closing(
    closed: "Iterable[Delivery]", using: str, state: DeliveryState, now: datetime | None = None
) -> None:
    """Note that these have disappeared `now`, that they need not (`SENT`), or that they cannot."""
    ids = [row.pk for row in closed]
    closing = delivery_rows(using).filter(pk__in=ids, state=DeliveryState.CLOSING)
    at = None if now is None else stored(now)
    closing.update(state=state, closed_at=at, reason="", detail="", **_RELEASED)


def delete_of(notifications: Collection[UUID], using: str) -> None:
    """Delete the deliveries of these notifications, outside of the transaction that deletes those.

    On InnoDB, who deletes some rows may wait for others, and must have none locked meanwhile.
    """
    if notifications:
        _delete(delivery_rows(using).filter(notification__in=notifications), using)


def delete_old(using: str, *, before: datetime) -> None:
    """Delete what ended a long time ago, such as digests."""
    _delete(
        delivery_rows(using).filter(state__gt=DeliveryState.IN_DIGEST, due_at__lt=before), using
    )


def _delete(found: "QuerySet[Delivery]", using: str) -> None:
    while ids := sorted(found.values_list("pk", flat=True)[:BATCH_ROWS]):
        delivery_rows(using).filter(pk__in=ids).delete()


# For the operator


@dataclass(frozen=True, slots=True)
class Waiting:
    """The deliveries of a database that have not ended."""

    waiting: int
    """Those whose time comes, counted up to `MAX_COUNTED`."""
    late: float
    """For how many seconds the oldest one has been due without being sent; 0 if none is due."""
    failed: int


def waiting(using: str, now: datetime, *, max_counted: int = MAX_COUNTED) -> Waiting:
    """By three queries."""
    rows = delivery_rows(using)
    oldest = due(using, now).values_list("due_at", flat=True).first()
    return Waiting(
        waiting=rows.filter(state__in=LEASED)[:max_counted].count(),
        late=0.0 if oldest is None else (aware(now) - aware(oldest)).total_seconds(),
        failed=rows.filter(state=DeliveryState.FAILED)[:max_counted].count(),
    )


def retry_failed(using: str) -> int:
    """Have all that failed sent after all, and return how many there are."""
    failed = delivery_rows(using).filter(state=DeliveryState.FAILED)
    # What a digest had in it is due by itself, and becomes part of the next one.
    failed.filter(notification=None).update(state=DeliveryState.SUPPRESSED)
    columns = {"digest": None, "attempts": 0, "ended_at": None, "reason": "", "detail": ""}
    return failed.update(state=DeliveryState.WAITING, **columns, **_RELEASED)
