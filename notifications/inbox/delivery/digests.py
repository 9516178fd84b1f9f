"""Digests: one message at a time of the person's own about all that they have not seen.

A digest is a delivery of its own, so one deliverer sends it, and a repetition is recognised.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from notifications.inbox.delivery.looking import Looked, facts_of
from notifications.inbox.delivery.senders import Sender
from notifications.inbox.delivery.states import DeliveryState, Outcome
from notifications.inbox.delivery.table import deliveries, delivery_rows, ended
from notifications.inbox.delivery.verdict import Send, Suppress, Times, reason_to_suppress
from notifications.inbox.preferences.choices import chosen_by
from notifications.inbox.preferences.person import schedule_of
from notifications.inbox.preferences.times import aware, stored
from notifications.inbox.table import rows

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.inbox.models import Delivery


@dataclass(frozen=True, slots=True)
class DigestContent:
    """What a digest would say now: its entries, newest first, and what is suppressed of it."""

    entries: Sequence[Looked]
    suppressed: Sequence[Looked]
    quiet_until: datetime | None


def gather(row: "Delivery", digest_at: datetime, using: str, times: Times) -> None:
    """Make a delivery part of the person's digest of this time, or of a later one.

    The digest may just be sent, by a deliverer whose clock is ahead: then it is closed.
    """
    while True:
        digests = _digests(row, stored(digest_at), using)
        with transaction.atomic(using=using):
            digest = digests.select_for_update().get()  # nobody closes it meanwhile
            if digest.state == DeliveryState.WAITING:
                delivery_rows(using).filter(pk=row.pk, state=DeliveryState.WAITING).update(
                    state=DeliveryState.IN_DIGEST, digest=digest.pk, holder="", leased_until=None
                )
                return
        digest_at = times.digest_after(digest_at) or digest_at


def _digests(row: "Delivery", digest_at: datetime, using: str) -> "QuerySet[Delivery]":
    """The digest of this time, which is made if there is none.

    It is made in a transaction of its own: on InnoDB, those who make the same row share a lock on
    it, and each would wait for the others to lock it for itself.
    """
    of_this_time = {
        "recipient_id": row.recipient_id,
        "channel": row.channel,
        "digest_at": digest_at,
    }
    found = delivery_rows(using).filter(**of_this_time)
    if not found.exists():
        new = deliveries()(**of_this_time, due_at=digest_at)
        delivery_rows(using).bulk_create([new], ignore_conflicts=True)
    return found


def read(row: "Delivery", sender: Sender, using: str, now: datetime) -> DigestContent:
    """What a digest would say now, by four queries."""
    times = Times.of(schedule_of(row.recipient_id, using))
    chosen = chosen_by(row.recipient_id, using)
    parts = list(delivery_rows(using).filter(digest=row.pk, state=DeliveryState.IN_DIGEST))
    ids = [part.notification_id for part in parts if part.notification_id is not None]
    found = rows(using).select_related("recipient").in_bulk(ids)
    entries, suppressed = [], []
    for part in parts:
        notification = None if part.notification_id is None else found.get(part.notification_id)
        if notification is None:  # it is deleted: `end` leaves the delivery to the next look
            continue
        facts = facts_of(part, notification, sender, chosen, using)
        if reason := reason_to_suppress(facts, now):
            suppressed.append(Looked(part, notification, times, Suppress(reason)))
        else:
            entries.append(Looked(part, notification, times, Send()))
    entries.sort(key=lambda looked: aware(looked.notification.created_at), reverse=True)
    return DigestContent(entries, suppressed, times.quiet_until(now))


def end(row: "Delivery", content: DigestContent, using: str, outcome: Outcome) -> None:
    """Note what became of a digest, and so of its parts.

    What was gathered after it was read is due again, and becomes part of the next one.
    """
    with transaction.atomic(using=using):
        delivery_rows(using).select_for_update().get(pk=row.pk)  # nobody gathers meanwhile
        parts = delivery_rows(using).filter(digest=row.pk, state=DeliveryState.IN_DIGEST)
        outcomes: defaultdict[Outcome, list[UUID]] = defaultdict(list)
        outcomes[outcome] = [looked.delivery.pk for looked in content.entries]
        for looked in content.suppressed:
            assert isinstance(looked.verdict, Suppress)
            own = replace(
                outcome,
                state=DeliveryState.SUPPRESSED,
                reason=looked.verdict.reason,
                detail=looked.detail,
            )
            outcomes[own].append(looked.delivery.pk)
        for each, ids in outcomes.items():
            parts.filter(pk__in=ids).update(**ended(each))
        parts.update(state=DeliveryState.WAITING, digest=None, due_at=stored(outcome.ended_at))
        delivery_rows(using).filter(pk=row.pk).update(**ended(outcome))
