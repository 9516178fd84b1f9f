"""Our log as a storage of django-eventstream, for `EVENTSTREAM_STORAGE_CLASS`."""

from collections.abc import Iterator
from typing import Any

from django_eventstream.event import Event
from django_eventstream.storage import EventDoesNotExist, StorageBase

from notifications.compat.eventstream.send import send, skipped_users
from notifications.compat.eventstream.translation import from_log_type, from_number, to_number
from notifications.conf import get_settings
from notifications.conf.namespace import current, log_topic
from notifications.log.base import SyncLog
from notifications.log.cursors import Cursor
from notifications.log.factory import open_sync_log
from notifications.log.records import Entry


class Storage(StorageBase):  # type: ignore[misc]  # it has no types
    """May be used by any thread or process."""

    def append_event(self, channel: str, event_type: str, data: Any) -> Event:
        cursor = send(channel, event_type, data, skipped_users())
        return Event(channel, event_type, data, id=to_number(cursor))

    def get_current_id(self, channel: str) -> int:
        """The id of the head of the log, which is the same for all channels."""
        return to_number(open_sync_log(get_settings()).state())

    def get_events(self, channel: str, last_id: int, limit: int = 100) -> list[Event]:
        """The events after an id. Raises `EventDoesNotExist` if the log no longer has them all."""
        log = open_sync_log(get_settings())
        head = log.state()
        after = from_number(str(last_id), head.epoch)
        if after is None or after.position > head.position:
            raise _unknown(last_id, head)
        topic = log_topic(current(), channel)
        events: list[Event] = []
        for entry in _entries_after(log, after, head, last_id):
            if topic in entry.topics:
                events.append(_event(channel, entry, head.epoch))
                if len(events) >= limit:
                    break
        return events


def _entries_after(log: SyncLog, after: Cursor, head: Cursor, last_id: int) -> Iterator[Entry]:
    position = after.position
    for batch in log.read(after=position, until=head.position):
        if batch.prev != position:
            raise _unknown(last_id, head)
        yield from batch.entries
        position = batch.last
    if position != head.position:
        raise _unknown(last_id, head)


def _unknown(last_id: int, head: Cursor) -> EventDoesNotExist:
    return EventDoesNotExist(f"The events after {last_id} are not all known.", to_number(head))


def _event(channel: str, entry: Entry, epoch: str) -> Event:
    id = to_number(Cursor(epoch, entry.position))
    return Event(channel, from_log_type(entry.type).decode(), entry.data.decode(), id=id)
