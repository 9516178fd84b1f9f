"""What `send_event()` sends, on its way into the log."""

import sys
from collections.abc import Iterable
from types import FrameType

from django_eventstream.eventstream import send_event

from notifications.compat.eventstream import ids
from notifications.compat.eventstream.ids import subject
from notifications.log.base import Draft
from notifications.log.cursors import Cursor
from notifications.publishing import publisher


def send(channel: str, event_type: object, data: object, skip_user_ids: Iterable[object]) -> Cursor:
    """Append it, and say where it is. Raises `Invalid`, `TooLarge` or `Unavailable`."""
    # What is not encoded is streamed as its text.
    text = data if isinstance(data, str) else str(data)
    event = publisher.build(channel, text, type=ids.kept(event_type))
    skip = tuple(map(subject, skip_user_ids))
    [receipt] = publisher.append([Draft(event, named=False, skip=skip)])
    return receipt.cursor


def skipped_by_sender() -> Iterable[object]:
    """The `skip_user_ids` of the `send_event()` that is under way in this thread, if any.

    It does not tell its storage. It tells a proxy, but only when the event is in the log already
    and on its way to those who are not to have it.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no other way
    while frame is not None:
        if frame.f_code is send_event.__code__:
            return frame.f_locals["skip_user_ids"] or ()
        frame = frame.f_back
    return ()
