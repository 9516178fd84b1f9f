"""`send_event()` of django-eventstream, appended to the log.

This file reaches into django-eventstream's private parts: see `skipped_users`.
"""

import sys
from collections.abc import Iterable
from itertools import chain
from types import FrameType

from django_eventstream.eventstream import send_event

from notifications.compat.eventstream.translation import subjects, to_log_type
from notifications.conf.namespace import current
from notifications.log.cursors import Cursor
from notifications.log.entries import Draft
from notifications.publishing import publisher


def send(channel: str, event_type: object, data: object, skip_user_ids: Iterable[object]) -> Cursor:
    """Append an event, and return its cursor. Raises `Invalid`, `TooLarge` or `Unavailable`."""
    # With `json_encode=False` the data may be of any type.
    text = data if isinstance(data, str) else str(data)
    event = publisher.build_event(channel, text, type=to_log_type(event_type))
    skip = tuple(chain.from_iterable(map(subjects, skip_user_ids)))
    draft = Draft(event, named=False, skip=skip, namespace=current())
    [receipt] = publisher.append_drafts([draft])
    return receipt.cursor


def skipped_users() -> Iterable[object]:
    """The `skip_user_ids` of the `send_event()` call that is running in this thread, if any.

    `send_event()` does not pass them to the storage. It passes them to a proxy, but only after the
    event is in the log, on its way to the users that it must skip. So they are read from the local
    variables of the calling frame.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no other way
    while frame is not None:
        if frame.f_code is send_event.__code__:
            return frame.f_locals["skip_user_ids"] or ()
        frame = frame.f_back
    return ()
