"""The events of an inbox, as they wait in the outbox: which of whose notifications have changed.

What they tell is made when the relay publishes them (`completion`). An event that cannot be made
is published as it is, and says that the inbox should be fetched again.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, Self
from uuid import UUID

from notifications.publishing import outbox
from notifications.topics import topic_segment

INBOX_TYPE = "inbox.changed"
MAX_IDS = 500
"""How many notifications one event, and one row of the outbox, is about. Each takes about 100 bytes
of the event."""


def topic_of(recipient: object) -> str:
    """The user's own topic, by the primary key."""
    return f"user.{topic_segment(recipient)}"


@dataclass(slots=True)
class Written:
    """An event as it was written: what is new to the recipient, and what has changed.

    New notifications that are `alike`, of whomever, have the same content.
    """

    recipient: str
    new: Sequence[str]
    """Ids, as `str` writes them: a UUID takes longer to make, and to find in a dictionary."""
    changed: Sequence[str]
    alike: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Raises `ValueError`, `TypeError`, `LookupError` or `AttributeError` for another thing."""
        new, changed = _ids(data.get("new")), _ids(data.get("changed"))
        return cls(data["recipient"], new, changed, data.get("alike", ""))


def _ids(written: Sequence[str] | None) -> Sequence[str]:
    """The ids as `str` writes them: earlier versions wrote only their digits."""
    return [id if _is_id(id) else str(UUID(id)) for id in written] if written else ()


_is_id = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


def write_new(new: Iterable[tuple[Any, UUID]], *, using: str, alike: str = "") -> None:
    """Tell each recipient of a notification that is new, or new again.

    Those that have the same content for good have the same name in `alike`.
    """
    _write(((recipient, [id]) for recipient, id in new), "new", using, alike)


def write_changed(changed: Mapping[Any, Sequence[UUID]], *, using: str) -> None:
    """Tell each recipient what has become of notifications. Write it after the rows are changed."""
    in_batches = ((recipient, batched(ids, MAX_IDS)) for recipient, ids in changed.items())
    _write(
        ((recipient, some) for recipient, all_ids in in_batches for some in all_ids),
        "changed",
        using,
    )


def by_recipient(ids: Iterable[tuple[Any, UUID]]) -> Mapping[Any, Sequence[UUID]]:
    """What `write_changed` takes, of pairs of a recipient and a notification."""
    grouped = defaultdict[Any, list[UUID]](list)
    for recipient, id in ids:
        grouped[recipient].append(id)
    return grouped


def _write(
    parts: Iterable[tuple[Any, Sequence[UUID]]], name: str, using: str, alike: str = ""
) -> None:
    """Write an event for each recipient and these ids: as one row, up to `MAX_IDS`."""
    same = {"refresh": True, "alike": alike} if alike else {"refresh": True}
    events, ids_of_row = list[tuple[str, Any]](), 0
    for recipient, ids in parts:
        if ids_of_row + len(ids) > MAX_IDS:
            outbox.write_per_topic(events, type=INBOX_TYPE, using=using)
            events, ids_of_row = [], 0
        data = {**same, "recipient": str(recipient), name: [str(id) for id in ids]}
        events.append((topic_of(recipient), data))
        ids_of_row += len(ids)
    if events:
        outbox.write_per_topic(events, type=INBOX_TYPE, using=using)
        outbox.wake_on_commit(using)
