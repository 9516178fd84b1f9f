"""What the events of inboxes tell, made by the relay when it publishes them.

Only then is it known: which rows are committed, which number each has in its person's list, and
how many of them are unseen. So two transactions at once need not know of each other.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import translation

from notifications.inbox.languages import languages_of
from notifications.inbox.lists import counts_of, entry, short_entry
from notifications.inbox.objects import load_objects
from notifications.inbox.rendering import Renderer
from notifications.inbox.states import DELETED
from notifications.inbox.table import BATCH_ROWS, last_numbers, rows, unlocked
from notifications.publishing.outbox.completion import POSTPONED

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

ONLY_ROW = 1


def complete(using: str, events: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The data of events of inboxes: the notifications as they are now, and the counts.

    An event of a row that an open transaction has locked is postponed: whoever waited for one
    transaction would delay everybody's events.
    """
    new = [id for event in events for id in _ids(event, "new")]
    changed = {id for event in events for id in _ids(event, "changed")}
    found = _give_numbers(new, using)
    found |= {row.pk: row for row in _read({*new, *changed} - found.keys(), using)}
    postponed = {id for id in new if (row := found.get(id)) and row.pending}
    recipients = {text: _primary_key(text) for text in {event["recipient"] for event in events}}
    counts = counts_of(recipients.values(), using)
    entries = _whole_entries([found[id] for id in dict.fromkeys(new) if id in found], using)
    return [
        POSTPONED
        if postponed.intersection(_ids(event, "new"))
        else {
            "notifications": [
                *(entries.get(id) or _gone(id) for id in _ids(event, "new")),
                *(_short(found, id) for id in _ids(event, "changed")),
            ],
            "counts": counts[recipients[event["recipient"]]],
        }
        for event in events
    ]


def _ids(event: Mapping[str, Any], name: str) -> list[UUID]:
    return [UUID(text) for text in event.get(name, ())]


def _primary_key(text: str) -> Any:
    return get_user_model()._meta.pk.to_python(text)  # noqa: SLF001 - documented


def _read(ids: Collection[UUID], using: str) -> "Iterator[Notification]":
    for some in batched(ids, BATCH_ROWS):
        yield from rows(using).filter(pk__in=some)


def _short(found: "Mapping[UUID, Notification]", id: UUID) -> dict[str, Any]:
    row = found.get(id)
    return _gone(id) if row is None else short_entry(row)


def _gone(id: UUID) -> dict[str, Any]:
    return {"id": str(id), "state": DELETED}


# Numbers


def _give_numbers(ids: Iterable[UUID], using: str) -> "dict[UUID, Notification]":
    """Number the rows in this order, each once, except those that somebody has locked.

    Returns the rows that have got a number.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return {}
    with transaction.atomic(using=using):
        pending = unlocked(rows(using).filter(pending=True, pk__in=wanted), using)
        found = {row.pk: row for row in pending.order_by("pk")}
        rounds = _rounds([row for id in wanted if (row := found.get(id))])
        first = _reserve_numbers(len(rounds), using) if rounds else 0
        for number, numbered in enumerate(rounds, start=first):
            ids = [row.pk for row in numbered]
            rows(using).filter(pk__in=ids).update(number=number, pending=False)
            for row in numbered:
                row.number, row.pending = number, False
    return found


def _rounds(new: "Iterable[Notification]") -> "list[list[Notification]]":
    """The first of these rows of each recipient, then the second of each, and so on.

    Rows of different recipients can have the same number, since it is a place in one person's list:
    so one statement gives it to all of a round.
    """
    rounds: list[list[Notification]] = []
    earlier = Counter[Any]()
    for row in new:
        number = earlier[row.recipient_id]
        earlier[row.recipient_id] += 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(row)
    return rounds


def _reserve_numbers(count: int, using: str) -> int:
    """The first of so many numbers, which nobody else gets."""
    table = last_numbers().objects.using(using)
    last = table.select_for_update().filter(pk=ONLY_ROW).first()
    if last is None:
        table.bulk_create([last_numbers()(pk=ONLY_ROW)], ignore_conflicts=True)
        last = table.select_for_update().get(pk=ONLY_ROW)
    last.number += count
    last.save(update_fields=["number"])
    return last.number - count + 1


# Content


def _whole_entries(new: "Sequence[Notification]", using: str) -> dict[UUID, dict[str, Any]]:
    """Each with its text, in the language of its recipient."""
    by_language: dict[str, list[Notification]] = {}
    for row, language in zip(new, languages_of(new, using), strict=True):
        by_language.setdefault(language, []).append(row)
    entries = dict[UUID, dict[str, Any]]()
    for language, some in by_language.items():
        load_objects(some)
        with translation.override(language):
            renderer = Renderer()
            entries |= {row.pk: entry(row, renderer.content(row)) for row in some}
    return entries
