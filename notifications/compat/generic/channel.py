"""The channel `inbox`, beside `website` and `email`: people and types choose it like those."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from generic_notifications.channels import BaseChannel, register
from generic_notifications.models import Notification as GenericNotification

from notifications.inbox.importing import generic_params, replaces_of
from notifications.inbox.kinds import GENERIC, Kind, family, generic_kind
from notifications.inbox.notify import is_local_or_web, notify

if TYPE_CHECKING:
    from notifications.inbox.models import Notification


@register
class InboxChannel(BaseChannel):  # type: ignore[misc]
    """Each notification becomes one of the inbox, of the kind `generic.<type>`.

    Its text is what `get_text` of the type returns when somebody reads it.
    """

    key = "inbox"
    name = "Inbox"
    supports_realtime = True
    supports_digest = False

    def send_now(self, notification: GenericNotification) -> None:
        notify(
            notification.recipient,
            f"{GENERIC}.{notification.notification_type}",
            generic_params(notification),
            actor=notification.actor,
            target=notification.target,
            url=notification.url if is_local_or_web(notification.url) else "",
            replaces=replaces_of(GENERIC, notification.pk),
        )


def _kind(name: str) -> Kind:
    kind = generic_kind(name)
    kind(_context)
    return kind


def _context(notification: "Notification") -> dict[str, Any]:
    """The text by a row of that package as it was sent, since a type makes it of such a row."""
    params, actor = notification.params, notification.actor
    sent = GenericNotification(
        recipient_id=notification.recipient_id,
        notification_type=notification.kind.removeprefix(f"{GENERIC}."),
        actor=actor if isinstance(actor, get_user_model()) else None,
        target=notification.target,
        url=notification.url,
        added=notification.created_at,
        read=notification.read_at,
        **{name: params[name] for name in ("subject", "text", "metadata")},
    )
    return {"text": sent.get_text() or sent.get_subject()}


family(GENERIC, _kind)
