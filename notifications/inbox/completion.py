"""What the events of inboxes tell, made by the relay when it publishes them.

Only then is it known: which rows are committed, which number each has in its person's list, and
how many of them are unseen. So two transactions at once need not know of each other.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.utils import translation

from notifications.events import compact_json
from notifications.inbox.delivery.table import close_pushes
from notifications.inbox.events import Written
from notifications.inbox.kinds import find_kind
from notifications.inbox.languages import languages_of
from notifications.inbox.lists import content_entry, counts_of, short_entry
from notifications.inbox.numbering import Numbered, give_numbers
from notifications.inbox.objects import load_objects
from notifications.inbox.rendering import Renderer
from notifications.inbox.states import DELETED, State
from notifications.inbox.table import BATCH_ROWS, rows
from notifications.publishing.outbox.completion import POSTPONED

if TYPE_CHECKING:
    from notifications.inbox.models import Notification


def complete(using: str, data: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The data of events of inboxes: the notifications as they are now, and the counts.

    An event of a row that an open transaction has locked is postponed: whoever waited for one
    transaction would delay everybody's events.
    """
    events = [Written.parse(each) for each in data]
    alike = {id: event.alike for event in events for id in event.new}
    numbered = give_numbers(list(alike), using)
    found = _load(alike, numbered, _ids_changed(events), using)
    postponed = {id for id in alike if (row := found.get(id)) and row.pk == id and row.pending}
    close_pushes([id for id in _ids_changed(events) if not _is_unseen(found.get(id))], using)
    recipients = {text: _primary_key(text) for text in {event.recipient for event in events}}
    counts = counts_of(recipients.values(), using)
    entries = _whole_entries(alike, found, numbered, using)
    return [
        POSTPONED
        if not postponed.isdisjoint(event.new)
        else {
            "notifications": [
                *(entries.get(id) or _gone(id) for id in event.new),
                *(_short(found, id) for id in event.changed),
            ],
            "counts": counts[recipients[event.recipient]],
        }
        for event in events
    ]


def _ids_changed(events: Iterable[Written]) -> set[UUID]:
    return {id for event in events for id in event.changed}


def _is_unseen(row: "Notification | None") -> bool:
    return row is not None and row.state == State.UNSEEN


def _primary_key(text: str) -> Any:
    return get_user_model()._meta.pk.to_python(text)  # noqa: SLF001 - documented


def _short(found: "Mapping[UUID, Notification]", id: UUID) -> dict[str, Any]:
    row = found.get(id)
    return _gone(id) if row is None else short_entry(row)


def _gone(id: UUID) -> dict[str, Any]:
    return {"id": str(id), "state": DELETED}


# Rows


def _load(
    alike: Mapping[UUID, str],
    numbered: Mapping[UUID, Numbered],
    changed: Collection[UUID],
    using: str,
) -> "dict[UUID, Notification]":
    """The rows by their ids. Of those that are alike, one is loaded and stands for all."""
    models = dict[str, UUID]()
    stood_for = {id: models.setdefault(alike[id], id) for id in numbered if alike[id]}
    loaded = _read({*models.values(), *changed, *(alike.keys() - stood_for.keys())}, using)
    unlike = {id for id in models.values() if not _can_stand_for_others(loaded.get(id))}
    if unlike:
        each = {id for id, model in stood_for.items() if model in unlike}
        loaded |= _read(each - loaded.keys(), using)
    for id, model in stood_for.items():
        if id not in loaded and model not in unlike:
            loaded[id] = loaded[model]
    return loaded


def _can_stand_for_others(row: "Notification | None") -> bool:
    """Not if it was deleted meanwhile, or if a function of its kind looks at each."""
    kind = find_kind(row.kind) if row is not None else None
    return row is not None and (kind is None or kind.make_context is None)


def _read(ids: Iterable[UUID], using: str) -> "dict[UUID, Notification]":
    return {
        row.pk: row for some in batched(ids, BATCH_ROWS) for row in rows(using).filter(pk__in=some)
    }


# Content


def _whole_entries(
    new: Iterable[UUID],
    found: "Mapping[UUID, Notification]",
    numbered: Mapping[UUID, Numbered],
    using: str,
) -> dict[UUID, dict[str, Any]]:
    """Each with its text, in the language of its recipient."""
    shown = {id: row for id in new if (row := found.get(id))}
    heads = [row if row.pk == id else numbered[id] for id, row in shown.items()]
    languages = languages_of([head.recipient_id for head in heads], using)
    load_objects(list({row.pk: row for row in shown.values()}.values()))
    contents = _Contents()
    return {
        id: {**short_entry(head), **contents.of(row, language)}
        for (id, row), head, language in zip(shown.items(), heads, languages, strict=True)
    }


class _Contents:
    """What is the same in the entries of all rows for which one stands, in each language."""

    def __init__(self) -> None:
        self._renderers: dict[str, Renderer] = {}
        self._known: dict[tuple[UUID, str], dict[str, Any]] = {}

    def of(self, row: "Notification", language: str) -> dict[str, Any]:
        key = (row.pk, language)
        if key not in self._known:
            renderer = self._renderers.setdefault(language, Renderer())
            with translation.override(language):
                content = content_entry(row, renderer.content(row))
            # Of the types that JSON has, so that no event needs to convert them again.
            self._known[key] = json.loads(compact_json(content))
        return self._known[key]
