"""The events that a test has published, as `django.core.mail.outbox` has the mails it has sent.

They are read from the log in memory, not recorded on the way. The transactional outbox, which
`publish_outbox` writes to a database, is another thing: `notifications.publishing.outbox`.
"""

import json
from collections.abc import Sequence
from typing import Any, overload
from unittest.mock import ANY

from notifications.conf import get_settings
from notifications.events import Event, compact_json
from notifications.log.cursors import Cursor
from notifications.log.factory import memory_store
from notifications.log.records import Entry
from notifications.topics import bare_topic


class Outbox(Sequence[Event]):
    """The events published so far, oldest first, with their data as a browser gets it.

    A value that JSON does not know is as `DjangoJSONEncoder` writes it: a `Decimal` is text, a
    tuple a list. Raises `RuntimeError` if the log is not in memory.
    """

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._events()[index]

    def __len__(self) -> int:
        return len(self._events())

    def __eq__(self, other: object) -> bool:
        return self._events() == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Outbox {self._events()!r}>"

    def _events(self) -> list[Event]:
        settings = get_settings()
        if settings.LOG != "memory":
            raise RuntimeError(
                "The outbox is the log in memory, and CARILLON['LOG'] is "
                f"{settings.LOG!r}: use OutboxMixin or the fixture carillon_outbox."
            )
        store = memory_store(settings, quiet=True)
        with store.lock:
            return [_event(store.epoch, Entry.of(record)) for record in store.records]


def _event(epoch: str, entry: Entry) -> Event:
    text = entry.data.decode()
    return Event(
        topics=list(map(bare_topic, entry.topics)),
        data=text if entry.is_text else json.loads(text),
        type=entry.type.decode() if entry.type else None,
        id=entry.id.decode(),
        retry=entry.retry,
        cursor=str(Cursor(epoch, entry.position)),
    )


outbox = Outbox()


def assert_published(
    topic: str | None = None,
    data: Any = ANY,
    *,
    type: str | None = ANY,
    count: int | None = None,
) -> list[Event]:
    """Assert that at least one event matches, or exactly `count` events; return the matches.

    `type=None` matches events without a type. `data` is what was passed to `publish`, and may hold
    `unittest.mock.ANY`. The `AssertionError` lists all events that were published.
    """
    published = list(outbox)
    matches = [
        event
        for event in published
        if (topic is None or topic in event.topics)
        and type == event.type
        and (data == event.data or _as_sent(data) == event.data)
    ]
    if (len(matches) == count) if count is not None else matches:
        return matches
    criteria = {"topic": ANY if topic is None else topic, "data": data, "type": type}
    named = ", ".join(f"{name}={value!r}" for name, value in criteria.items() if value is not ANY)
    expected = "at least one" if count is None else count
    raise AssertionError(
        f"{len(matches)} of the events published are {named or 'of any kind'}; "
        f"expected {expected}.\n"
        + "\n".join([f"Published ({len(published)}):", *map(_line, published)])
    )


def _as_sent(data: Any) -> Any:
    """The data as it comes back from JSON; unchanged if JSON cannot hold it."""
    if isinstance(data, str):
        return data
    try:
        return json.loads(compact_json(data))
    except (TypeError, ValueError):
        return data


def _line(event: Event) -> str:
    return f"  topics={list(event.topics)} type={event.type!r} data={event.data!r}"
