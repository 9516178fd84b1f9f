"""What was published, like the `outbox` of Django's mail: read from the log, not recorded."""

import json
from collections.abc import Sequence
from typing import Any, overload
from unittest.mock import ANY

from notifications.conf import get_settings
from notifications.events import Event, compact_json
from notifications.log.base import Entry
from notifications.log.cursors import Cursor
from notifications.log.factory import memory_store


class Outbox(Sequence[Event]):
    """The events published so far, oldest first, their data as a browser gets it.

    What JSON does not know is as `DjangoJSONEncoder` writes it: a `Decimal` is text, a tuple a
    list. Raises `RuntimeError` where the log is not in memory.
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
            return [_event(store.epoch, entry) for entry in store.entries]


def _event(epoch: str, entry: Entry) -> Event:
    text = entry.data.decode()
    return Event(
        topics=entry.topics,
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
    """At least one event was published that has all that is given; with `count`, just so many.

    `type=None` is an event without one. `data` is what was passed to `publish`, and may hold
    `unittest.mock.ANY`. Returns the events; raises `AssertionError`, which lists what there is.
    """
    published = list(outbox)
    found = [
        event
        for event in published
        if (topic is None or topic in event.topics)
        and type == event.type
        and (data == event.data or _as_sent(data) == event.data)
    ]
    if (len(found) == count) if count is not None else found:
        return found
    asked = {"topic": ANY if topic is None else topic, "data": data, "type": type}
    given = ", ".join(f"{name}={value!r}" for name, value in asked.items() if value is not ANY)
    wanted = "at least one" if count is None else count
    raise AssertionError(
        f"{len(found)} of the events published are {given or 'of any kind'}; expected {wanted}.\n"
        + "\n".join([f"Published ({len(published)}):", *map(_line, published)])
    )


def _as_sent(data: Any) -> Any:
    """The data as it comes back from JSON; itself, where it cannot be written."""
    if isinstance(data, str):
        return data
    try:
        return json.loads(compact_json(data))
    except (TypeError, ValueError):
        return data


def _line(event: Event) -> str:
    return f"  topics={list(event.topics)} type={event.type!r} data={event.data!r}"
