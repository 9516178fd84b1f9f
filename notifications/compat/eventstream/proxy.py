"""Our log in the role of django-eventstream's GRIP proxy, which gets every event and every kick.

django-eventstream calls its proxy functions whatever its settings are, and passes them all options
of the caller. No other hook of it reaches other processes for a channel without storage, or for a
kick.
"""

from collections.abc import Iterable
from typing import Any

from django_eventstream import eventstream
from django_eventstream.utils import get_storage

from notifications.compat.eventstream.send import send
from notifications.compat.eventstream.storage import Storage
from notifications.compat.eventstream.translation import subjects
from notifications.hub.subscribers import CloseReason
from notifications.publishing import control


def install() -> None:
    """Replace both functions in this process. `send_event()` looks them up at each call."""
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
    """Send an event that is not in the log yet: one without an id, which cannot be replayed."""
    del pub_prev_id
    if pub_id is None or not isinstance(get_storage(), Storage):
        send(channel, event_type, data, skip_user_ids or ())


def publish_kick(user_id: object, channel: str) -> None:
    """End the streams of this user that have this channel, in every process."""
    control.end_streams(*subjects(user_id), reason=CloseReason.PERMISSION_ENDED, topics=(channel,))
