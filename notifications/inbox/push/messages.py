"""What a push message says: a declarative one, which each service worker understands as well.

Browsers that know the form show it without one: https://www.w3.org/TR/push-api/ (2025).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils import timezone, translation

from notifications.inbox.channels import Push, Urgency
from notifications.inbox.delivery.email import site_url
from notifications.inbox.delivery.senders import Message, NoText, Refused, content_of
from notifications.inbox.kinds import find_category, find_kind, push_of
from notifications.inbox.languages import languages_of
from notifications.inbox.objects import load_objects
from notifications.inbox.preferences.choices import title_of
from notifications.inbox.preferences.times import aware
from notifications.inbox.rendering import Renderer
from notifications.inbox.states import Priority, State
from notifications.inbox.table import rows

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

DECLARATIVE = 8030
"""Marks a declarative message: the number of the RFC of Web Push."""
MAX_BYTES = 3_900
"""A push service need not take more than 4,096 bytes, encrypted (RFC 8030 §7.2)."""
CLOSING_TTL_SECONDS = 24 * 60 * 60
"""At least: a device that was away is to get it as long as it may get what this closes."""
MAX_TITLE_CHARACTERS, MAX_BODY_CHARACTERS = 100, 1_000
_URGENCIES = {
    Priority.LOW: Urgency.LOW,
    Priority.NORMAL: Urgency.NORMAL,
    Priority.HIGH: Urgency.HIGH,
}


@dataclass(frozen=True, slots=True)
class PushMessage:
    """What is encrypted, and what the push service reads (RFC 8030 §5)."""

    content: bytes
    ttl: int
    """Seconds."""
    urgency: str
    topic: str
    shows_nothing: bool = False

    def headers(self) -> dict[str, str]:
        topic = {"Topic": self.topic} if self.topic else {}
        return {"TTL": str(self.ttl), "Urgency": self.urgency, **topic}


def shown(message: Message) -> PushMessage:
    """The notification, in the language and the time zone of its person. Raises `NoText`."""
    [row] = message.notifications
    [language] = languages_of([row.recipient_id], message.using)
    load_objects([row])
    with translation.override(language), timezone.override(message.zone):
        text = content_of(row, Renderer()).text
        title = str(_push(row).title) or title_of(find_category(row.category))
    if not text:
        raise NoText(f"The text of the kind {row.kind!r} is empty: see inbox.render_failed.")
    notification = {
        "title": title[:MAX_TITLE_CHARACTERS],
        "body": text[:MAX_BODY_CHARACTERS],
        "navigate": site_url() + reverse("carillon:inbox-follow", args=[row.pk]),
        "tag": str(row.pk),
        "lang": language,
        "timestamp": int(aware(row.created_at).timestamp() * 1000),
    }
    badge = _unseen(message)
    # The number is where WebKit reads it, as text, and where the draft of the standard has it.
    notification["app_badge"] = str(badge)
    content = {"web_push": DECLARATIVE, "notification": notification, "app_badge": badge}
    push = _push(row)
    return PushMessage(
        content=_fitting(content),
        ttl=_ttl(row, push),
        urgency=push.urgency or _URGENCIES[Priority(row.priority)],
        topic=push.topic or row.pk.hex,
    )


def closing(messages: Sequence[Message]) -> PushMessage:
    """Has the notifications of one person disappear. Only a service worker understands it."""
    closed = [message.notifications[0] for message in messages]
    content = {
        "close": list(dict.fromkeys(str(row.pk) for row in closed)),
        "app_badge": _unseen(messages[0]),
    }
    # A single one takes the place of what it closes, for a device that was away. With the topic of
    # a kind it would take that of a newer message.
    is_alone = len(closed) == 1 and not _push(closed[0]).topic
    return PushMessage(
        content=_bytes(content),
        ttl=max(CLOSING_TTL_SECONDS, *(_seconds(_push(row).ttl) for row in closed)),
        urgency=Urgency.LOW,
        topic=closed[0].pk.hex if is_alone else "",
        shows_nothing=True,
    )


def _push(row: "Notification") -> Push:
    kind = find_kind(row.kind)
    return (push_of(kind) if kind is not None else None) or Push()


def _ttl(row: "Notification", push: Push) -> int:
    """Seconds: what has expired is not shown."""
    ttl = _seconds(push.ttl)
    if row.expires_at is None:
        return ttl
    left = aware(row.expires_at) - aware(timezone.now())
    return max(0, min(ttl, _seconds(left)))


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _unseen(message: Message) -> int:
    """How many are unseen, also of what the relay has not numbered yet."""
    unseen = rows(message.using).filter(recipient_id=message.recipient.pk, state=State.UNSEEN)
    return unseen.count()


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _fitting(content: dict[str, Any]) -> bytes:
    """With as much of the text as there is room for. Raises `Refused` if there is none."""
    notification = content["notification"]
    while len(written := _bytes(content)) > MAX_BYTES:
        body = notification["body"].removesuffix("…")
        if not body:
            raise Refused("The title and the address alone are too long for a push message.")
        notification["body"] = f"{body[: len(body) * 9 // 10]}…"
    return written
