"""The numbers of notifications: which is where in its person's list.

The relay gives them when it publishes, since only then it is known which rows are committed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from notifications.inbox.keys import IsAmong, array_of
from notifications.inbox.table import last_numbers, notifications, rows, unlocked

ONLY_ROW = 1


@dataclass(slots=True)
class Numbered:
    """A row that has just got its number, without its content."""

    pk: str
    version: int
    state: int
    number: int


def give_numbers(ids: Sequence[str], using: str) -> dict[str, Numbered]:
    """Number the rows in this order, each once, except those that somebody has locked.

    Returns those that have got a number. The ids are different ones, and written as `str` does.
    """
    if not ids:
        return {}
    connection = connections[using]
    give = _by_one_statement if connection.vendor == "postgresql" else _by_queries
    return {numbered.pk: numbered for numbered in give(ids, connection)}


# On PostgreSQL


def _by_one_statement(ids: Sequence[str], connection: BaseDatabaseWrapper) -> list[Numbered]:
    """Each row gets a number of its own."""
    array, keys = array_of(notifications()._meta.pk, ids, connection)  # noqa: SLF001 - documented
    quote = connection.ops.quote_name
    table, last = (
        quote(model._meta.db_table)  # noqa: SLF001 - documented
        for model in (notifications(), last_numbers())
    )
    statement = _STATEMENT.format(table=table, last=last, array=array)
    with connection.cursor() as cursor:
        cursor.execute(statement, [keys, ONLY_ROW, len(ids), len(ids)])
        return [Numbered(*values) for values in cursor.fetchall()]


_STATEMENT = """
WITH free AS MATERIALIZED (
    SELECT found.id, given.nth
    FROM unnest((SELECT {array})) WITH ORDINALITY AS given (id, nth)
    JOIN {table} AS found ON found.id = given.id
    WHERE found.pending
    FOR UPDATE OF found SKIP LOCKED
), last AS (
    INSERT INTO {last} AS kept (id, number)
    SELECT %s, %s WHERE EXISTS (SELECT FROM free)
    ON CONFLICT (id) DO UPDATE SET number = kept.number + excluded.number
    RETURNING number
)
UPDATE {table} AS found
SET number = last.number - %s + free.nth, pending = false
FROM free, last
WHERE found.id = free.id
RETURNING found.id::text, found.version, found.state, found.number
"""


# Elsewhere


def _by_queries(ids: Sequence[str], connection: BaseDatabaseWrapper) -> list[Numbered]:
    """Rows of different recipients have the same number, so that one query gives it to all."""
    using = connection.alias
    with transaction.atomic(using=using):
        pending = unlocked(rows(using).filter(IsAmong("pk", ids), pending=True), using)
        columns = pending.order_by("pk").values_list("pk", "version", "state", "recipient_id")
        found = {str(pk): (version, state, recipient) for pk, version, state, recipient in columns}
        rounds = _rounds((id, found[id][2]) for id in ids if id in found)
        first = _reserve(len(rounds), using) if rounds else 0
        for number, some in enumerate(rounds, start=first):
            rows(using).filter(IsAmong("pk", some)).update(number=number, pending=False)
    return [
        Numbered(id, *found[id][:2], number)
        for number, some in enumerate(rounds, start=first)
        for id in some
    ]


def _rounds(new: Iterable[tuple[str, Any]]) -> list[list[str]]:
    """The first of these rows of each recipient, then the second of each, and so on."""
    rounds: list[list[str]] = []
    earlier = Counter[Any]()
    for id, recipient in new:
        number = earlier[recipient]
        earlier[recipient] += 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(id)
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
