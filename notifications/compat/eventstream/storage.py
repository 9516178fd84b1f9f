"""The storage that django-eventstream is given: our log."""

from collections.abc import Iterator
from typing import Any

from django_eventstream.event import Event
from django_eventstream.storage import EventDoesNotExist, StorageBase

from notifications.compat.eventstream import ids
from notifications.compat.eventstream.send import send, skipped_by_sender
from notifications.conf import get_settings
from notifications.log.base import Appender, Entry
from notifications.log.cursors import Cursor
from notifications.log.factory import appender


class Storage(StorageBase):  # type: ignore[misc]  # it has no types
    """Any thread or process may use it, and nobody has to read what another appended."""

    def append_event(self, channel: str, event_type: str, data: Any) -> Event:
        at = send(channel, event_type, data, skipped_by_sender())
        return Event(channel, event_type, data, id=ids.number(at))

    def get_current_id(self, channel: str) -> int:
        """After which everything of the channel is yet to come: the same for all channels."""
        return ids.number(appender(get_settings()).state())

    def get_events(self, channel: str, last_id: int, limit: int = 100) -> list[Event]:
        """Raises `EventDoesNotExist` where it is not known what followed the id."""
        log = appender(get_settings())
        head = log.state()
        after = ids.cursor(str(last_id), head.epoch)
        if after is None or after.position > head.position:
            raise _unknown(last_id, head)
        found: list[Event] = []
        for entry in _following(log, after, head, last_id):
            if channel in entry.topics:
                found.append(_event(channel, entry, head.epoch))
                if len(found) >= limit:
                    break
        return found


def _following(log: Appender, after: Cursor, head: Cursor, last_id: int) -> Iterator[Entry]:
    place = after.position
    for batch in log.read(after=place, until=head.position):
        if batch.prev != place:
            raise _unknown(last_id, head)
        yield from batch.entries
        place = batch.last
    if place != head.position:
        raise _unknown(last_id, head)


def _unknown(last_id: int, head: Cursor) -> EventDoesNotExist:
    return EventDoesNotExist(f"What followed {last_id} is not known.", ids.number(head))


def _event(channel: str, entry: Entry, epoch: str) -> Event:
    at = Cursor(epoch, entry.position)
    return Event(channel, ids.heard(entry.type).decode(), entry.data.decode(), id=ids.number(at))
