"""Looks at a delivery once more, at the moment when it would be sent."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from notifications.inbox.channels import Channel
from notifications.inbox.delivery.senders import Sender
from notifications.inbox.delivery.states import Reason
from notifications.inbox.delivery.verdict import Facts, Suppress, Times, Verdict, decide
from notifications.inbox.kinds import delays, find_kind
from notifications.inbox.preferences.choices import Chosen, chosen_by, is_on
from notifications.inbox.preferences.person import schedule_of
from notifications.inbox.states import Priority, State
from notifications.inbox.table import rows

if TYPE_CHECKING:
    from notifications.inbox.models import Delivery, Notification


@dataclass(frozen=True, slots=True)
class Looked:
    """A notification as it is now, and what to do with a delivery of it."""

    delivery: "Delivery"
    notification: "Notification"
    times: Times
    verdict: Verdict

    @property
    def detail(self) -> str:
        """Which preference it is that suppresses it."""
        if self.verdict == Suppress(Reason.PREFERENCE):
            return f"{self.notification.category}: {self.delivery.channel}"
        return ""


def look(row: "Delivery", sender: Sender, using: str, now: datetime) -> Looked | None:
    """What to do with the delivery of one notification, by three queries; None if it is deleted."""
    notification = (
        rows(using).select_related("recipient").filter(pk__in=[row.notification_id]).first()
    )
    if notification is None:
        return None
    chosen = chosen_by(row.recipient_id, using)
    times = Times.of(schedule_of(row.recipient_id, using))
    facts = facts_of(row, notification, sender, chosen, using)
    return Looked(row, notification, times, decide(facts, times, now))


def facts_of(
    row: "Delivery", notification: "Notification", sender: Sender, chosen: Chosen, using: str
) -> Facts:
    channel, kind = Channel(row.channel), find_kind(notification.kind)
    return Facts(
        channel=channel,
        state=State(notification.state),
        priority=Priority(notification.priority),
        expires_at=notification.expires_at,
        is_replaced=notification.created_at != row.about,
        is_asked_for=kind is not None and channel in delays(kind),
        is_wanted=is_on(notification.category, channel, chosen),
        is_active=notification.recipient.is_active,
        has_address=sender.can_reach(notification.recipient, using),
    )
