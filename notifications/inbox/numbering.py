"""The numbers of notifications: which is where in its person's list.

The relay gives them when it publishes, since only then it is known which rows are committed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from notifications.inbox.keys import IsAmong
from notifications.inbox.table import last_numbers, rows, unlocked

ONLY_ROW = 1


@dataclass(slots=True)
class Numbered:
    """A row that has just got its number, without its content. The first fields are columns."""

    pk: UUID
    recipient_id: Any
    version: int
    state: int
    number: int = 0


def give_numbers(ids: Sequence[UUID], using: str) -> dict[UUID, Numbered]:
    """Number the rows in this order, each once, except those that somebody has locked.

    Returns those that have got a number.
    """
    if not ids:
        return {}
    columns = ("pk", "recipient_id", "version", "state")
    with transaction.atomic(using=using):
        pending = unlocked(rows(using).filter(IsAmong("pk", ids), pending=True), using)
        found = pending.order_by("pk").values_list(*columns)
        numbered = {values[0]: Numbered(*values) for values in found}
        rounds = _rounds(row for id in ids if (row := numbered.get(id)))
        first = _reserve(len(rounds), using) if rounds else 0
        for number, some in enumerate(rounds, start=first):
            round_ids = [row.pk for row in some]
            rows(using).filter(IsAmong("pk", round_ids)).update(number=number, pending=False)
            for row in some:
                row.number = number
    return numbered


def _rounds(new: Iterable[Numbered]) -> list[list[Numbered]]:
    """The first of these rows of each recipient, then the second of each, and so on.

    Rows of different recipients can have the same number, since it is a place in one person's list:
    so one statement gives it to all of a round.
    """
    rounds: list[list[Numbered]] = []
    earlier = Counter[Any]()
    for row in new:
        number = earlier[row.recipient_id]
        earlier[row.recipient_id] += 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(row)
    return rounds


def _reserve(count: int, using: str) -> int:
    """The first of so many numbers, which nobody else gets."""
    table = last_numbers().objects.using(using)
    last = table.select_for_update().filter(pk=ONLY_ROW).first()
    if last is None:
        table.bulk_create([last_numbers()(pk=ONLY_ROW)], ignore_conflicts=True)
        last = table.select_for_update().get(pk=ONLY_ROW)
    last.number += count
    last.save(update_fields=["number"])
    return last.number - count + 1
