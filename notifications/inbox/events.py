"""The events of an inbox, as they wait in the outbox: which of whose notifications have changed.

What they tell is made when the relay publishes them (`completion`). An event that cannot be made
is published as it is, and says that the inbox should be fetched again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Any
from uuid import UUID

from notifications.events import Event
from notifications.publishing.publisher import publish_outbox_many
from notifications.topics import topic_segment

INBOX_TYPE = "inbox.changed"
MAX_IDS = 500
"""How many notifications one event is about: each takes about 100 bytes of it."""


def topic_of(recipient: object) -> str:
    """The user's own topic, by the primary key."""
    return f"user.{topic_segment(recipient)}"


def write_new(new: Iterable[tuple[Any, UUID]], *, using: str) -> None:
    """Tell each recipient of a notification that is new, or new again."""
    publish_outbox_many(
        (_event(recipient, [id], is_new=True) for recipient, id in new), using=using
    )


def write_changed(changed: Mapping[Any, Sequence[UUID]], *, using: str) -> None:
    """Tell each recipient what has become of notifications. Write it after the rows are changed."""
    events: Iterable[Event] = (
        _event(recipient, ids, is_new=False)
        for recipient, all_ids in changed.items()
        for ids in batched(all_ids, MAX_IDS)
    )
    publish_outbox_many(events, using=using)


def by_recipient(ids: Iterable[tuple[Any, UUID]]) -> Mapping[Any, Sequence[UUID]]:
    """What `write_changed` takes, of pairs of a recipient and a notification."""
    grouped = defaultdict[Any, list[UUID]](list)
    for recipient, id in ids:
        grouped[recipient].append(id)
    return grouped


def _event(recipient: object, ids: Sequence[UUID], *, is_new: bool) -> Event:
    data = {
        "refresh": True,
        "recipient": str(recipient),
        "new" if is_new else "changed": [id.hex for id in ids],
    }
    return Event(topics=(topic_of(recipient),), data=data, type=INBOX_TYPE)
