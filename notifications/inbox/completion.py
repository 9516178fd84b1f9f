"""What the events of inboxes tell, made by the relay when it publishes them.

Only then is it known: which rows are committed, which number each has in its person's list, and
how many of them are unseen. So two transactions at once need not know of each other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.utils import translation

from notifications.events import Json, compact_json
from notifications.inbox.delivery.table import close_pushes
from notifications.inbox.events import Written
from notifications.inbox.keys import IsAmong
from notifications.inbox.kinds import find_kind
from notifications.inbox.languages import languages_of
from notifications.inbox.lists import content_entry, counts_of, short_entry, short_json
from notifications.inbox.numbering import Numbered, give_numbers
from notifications.inbox.objects import load_objects
from notifications.inbox.rendering import Renderer
from notifications.inbox.states import DELETED, State
from notifications.inbox.table import BATCH_ROWS, rows
from notifications.publishing.outbox.completion import POSTPONED
from notifications.telemetry.logs import logger

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

MAX_LOGGED = 200
"""Of an event that cannot be read, so many characters are logged."""


def complete(using: str, data: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The data of events of inboxes: the notifications as they are now, and the counts.

    An event of a row that an open transaction has locked is postponed: whoever waited for one
    transaction would delay everybody's events. One that somebody has spoilt stays as it is.
    """
    events = [_parsed(each) for each in data]
    made = iter(_complete([event for event in events if event], using))
    return [next(made) if event else each for event, each in zip(events, data, strict=True)]


def _parsed(data: Mapping[str, Any]) -> Written | None:
    try:
        return Written.parse(data)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        logger.error("inbox.unreadable", data=repr(data)[:MAX_LOGGED], error=repr(error))  # noqa: TRY400
        return None


def _complete(events: Sequence[Written], using: str) -> list[Any]:
    numbered = give_numbers(list(dict.fromkeys(id for event in events for id in event.new)), using)
    found = _load(events, numbered, using)
    seen = [id for id in _ids_changed(events) if not _is_unseen(found.rows.get(id))]
    close_pushes(list(map(UUID, seen)), using)
    to_python = get_user_model()._meta.pk.to_python  # noqa: SLF001 - documented
    recipients = {text: to_python(text) for text in {event.recipient for event in events}}
    counts = counts_of(recipients.values(), using)
    entries = iter(_whole_entries(events, found, recipients, using))
    counts_text = _Texts()
    completed = list[Any]()
    for event in events:
        notifications = [
            *(next(entries) or _gone(id) for id in event.new),
            *(_short(found.rows.get(id), id) for id in event.changed),
        ]
        text = (
            f'{{"notifications":[{",".join(notifications)}],'
            f'"counts":{counts_text.of(counts[recipients[event.recipient]])}}}'
        )
        completed.append(POSTPONED if found.is_pending(event) else Json(text.encode()))
    return completed


def _ids_changed(events: Iterable[Written]) -> set[str]:
    return {id for event in events for id in event.changed}


def _is_unseen(row: "Notification | None") -> bool:
    return row is not None and row.state == State.UNSEEN


def _short(row: "Notification | None", id: str) -> str:
    return _gone(id) if row is None else compact_json(short_entry(row))


def _gone(id: str) -> str:
    return compact_json({"id": id, "state": DELETED})


class _Texts:
    """The JSON of objects of which the same ones come again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, str]] = {}

    def of(self, value: object) -> str:
        key = id(value)
        if key not in self._known:
            self._known[key] = value, compact_json(value)
        return self._known[key][1]


# Rows


type Pair = "tuple[Notification | Numbered, Notification]"
"""What has become of a notification, and the row that has its content."""


@dataclass(frozen=True, slots=True)
class Found:
    """Rows by their ids, those that stand for all that are alike, and what has got a number."""

    rows: "Mapping[str, Notification]"
    models: "Mapping[str, Notification]"
    numbered: Mapping[str, Numbered]
    pending: Set[str]
    """Without a number yet, because somebody has locked the row."""

    def new(self, event: Written) -> Iterator[Pair | None]:
        """For each notification that is new: None if it is gone."""
        model = self.models.get(event.alike)
        for id in event.new:
            if model and (head := self.numbered.get(id)):
                yield head, model
            elif row := self.rows.get(id):
                yield row, row
            else:
                yield None

    def is_pending(self, event: Written) -> bool:
        return bool(self.pending) and not self.pending.isdisjoint(event.new)


def _load(events: Sequence[Written], numbered: Mapping[str, Numbered], using: str) -> Found:
    """Of the rows that are alike, one is loaded."""
    first, others = dict[str, str](), _ids_changed(events)
    for event in events:
        for id in event.new:
            if event.alike and id in numbered:
                first.setdefault(event.alike, id)
            else:
                others.add(id)
    loaded = _read({*first.values(), *others}, using)
    models = {
        alike: row
        for alike, id in first.items()
        if (row := loaded.get(id)) and _can_stand_for_others(row)
    }
    if unlike := first.keys() - models.keys():
        each = {id for event in events if event.alike in unlike for id in event.new}
        loaded |= _read(each - loaded.keys(), using)
    return Found(loaded, models, numbered, {id for id, row in loaded.items() if row.pending})


def _can_stand_for_others(row: "Notification") -> bool:
    """Not if a function of its kind looks at each."""
    kind = find_kind(row.kind)
    return kind is None or kind.make_context is None


def _read(ids: Iterable[str], using: str) -> "dict[str, Notification]":
    return {
        str(row.pk): row
        for some in batched(ids, BATCH_ROWS)
        for row in rows(using).filter(IsAmong("pk", some))
    }


# Content


def _whole_entries(
    events: Sequence[Written], found: Found, recipients: Mapping[str, Any], using: str
) -> list[str | None]:
    """The JSON of each new notification with its text, in its recipient's language.

    None for one that is gone.
    """
    pairs = [pair for event in events for pair in found.new(event)]
    languages = languages_of(
        [recipients[event.recipient] for event in events for _ in event.new], using
    )
    load_objects(list({id(pair[1]): pair[1] for pair in pairs if pair}.values()))
    contents = _Contents()
    return [
        pair and f"{short_json(pair[0])[:-1]},{contents.of(pair[1], language)[1:]}"
        for pair, language in zip(pairs, languages, strict=True)
    ]


class _Contents:
    """The JSON of what is the same in all rows for which one stands, in each language."""

    def __init__(self) -> None:
        self._renderers: dict[str, Renderer] = {}
        self._known: dict[tuple[int, str], str] = {}

    def of(self, row: "Notification", language: str) -> str:
        key = (id(row), language)  # hashing the primary key of each would take longer
        if key not in self._known:
            renderer = self._renderers.setdefault(language, Renderer())
            with translation.override(language):
                self._known[key] = compact_json(content_entry(row, renderer.content(row)))
        return self._known[key]
