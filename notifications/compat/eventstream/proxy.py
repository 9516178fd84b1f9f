"""The place of a GRIP proxy: django-eventstream tells it of every event, and whom to send away.

Its two ways of telling are the only ones that reach beyond a process, know all that was asked for,
and are taken whatever the settings are: a channel without storage, and a kick.
"""

from collections.abc import Iterable
from typing import Any

from django_eventstream import eventstream
from django_eventstream.utils import get_storage

from notifications.compat.eventstream.ids import subject
from notifications.compat.eventstream.send import send
from notifications.compat.eventstream.storage import Storage
from notifications.hub.subscribers import CloseReason
from notifications.publishing import control


def take_place() -> None:
    """In this process. `send_event()` looks both up when it is called, whoever imported it when."""
    eventstream.publish_event = publish_event
    eventstream.publish_kick = publish_kick


def publish_event(
    channel: str,
    event_type: object,
    data: object,
    pub_id: str | None,
    pub_prev_id: str | None,
    skip_user_ids: Iterable[object] | None = None,
    **_: Any,
) -> None:
    """What our storage gave an id is in the log; the rest is not to be replayed, and has none."""
    del pub_prev_id
    if pub_id is None or not isinstance(get_storage(), Storage):
        send(channel, event_type, data, skip_user_ids or ())


def publish_kick(user_id: object, channel: str) -> None:
    """End the streams of this user that have this channel, in every process."""
    control.end(subject(user_id), reason=CloseReason.PERMISSION_ENDED, topics=(channel,))
