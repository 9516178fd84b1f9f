"""What was sent about a notification disappears when its person has seen that anywhere else."""

from typing import TYPE_CHECKING, Any

from notifications.inbox.channels import Channel
from notifications.inbox.delivery import table
from notifications.inbox.delivery.states import DeliveryState
from notifications.inbox.delivery.verdict import UNSEEN
from notifications.inbox.table import rows

if TYPE_CHECKING:
    from notifications.inbox.models import Delivery, Notification

MAX_CLOSED = 80
"""How many messages one that closes may name: it has room for a hundred ids."""


def close_if_seen(row: "Delivery", using: str) -> None:
    """Whoever has seen it while it was being sent could not have it closed."""
    if row.channel == Channel.PUSH and row.notification_id is not None:
        unseen = rows(using).filter(pk=row.notification_id, state__in=UNSEEN)
        if not unseen.exists():
            table.close_pushes([row.notification_id], using)


def to_close(recipient_id: Any, using: str) -> "list[tuple[Delivery, Notification]]":
    """What is to disappear of what one person was sent, and what each is about."""
    closing = table.closing(recipient_id, using, count=MAX_CLOSED)
    about = [row.notification_id for row in closing if row.notification_id is not None]
    found = rows(using).select_related("recipient").in_bulk(about)
    # What was deleted has no deliveries any more, either.
    table.delete_of([id for id in about if id not in found], using)
    over, unseen = [], []
    for row in closing:
        notification = None if row.notification_id is None else found.get(row.notification_id)
        if notification is not None and notification.state in UNSEEN:
            unseen.append(row)
        elif notification is not None:
            over.append((row, notification))
    # What is unseen again has another message, which takes the place of the one that is shown.
    table.end_closing(unseen, using, DeliveryState.SENT)
    for row in unseen:
        close_if_seen(row, using)
    return over
