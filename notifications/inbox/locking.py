"""Rows are looked for without a lock, and then locked by their primary keys, in that order.

So nobody waits in a circle. On InnoDB a query that locks while it searches takes the locks of the
index that it happens to use, and meets whoever changes that index with the row already locked.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q

from notifications.inbox.keys import IsAmong
from notifications.inbox.table import BATCH_ROWS, rows, unlocked

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.inbox.models import Notification


def ids_in_batches(
    found: "QuerySet[Notification]", *, order: str = "pk"
) -> Iterator[Sequence[UUID]]:
    """The ids of these rows, in the order of a column. Each batch is a query of its own."""
    after = Q()
    while True:
        # Django 5.2 returns a column that is named twice only once.
        columns = dict.fromkeys((order, "pk"))
        next_rows = found.filter(after).order_by(*columns).values_list(*columns)
        some = list(next_rows[:BATCH_ROWS])
        if some:
            yield [row[-1] for row in some]
        if len(some) < BATCH_ROWS:
            return
        value, id = some[-1][0], some[-1][-1]
        follows = Q(**{f"{order}__gt": value}) | Q(pk__gt=id)
        after = Q(**{f"{order}__gte": value}) & follows


def lock(
    ids: Sequence[UUID], meant: Q, columns: Sequence[str], *, using: str, wait: bool
) -> list[tuple[Any, ...]]:
    """Lock rows in the open transaction, and return these columns of those that are still meant.

    Without `wait`, rows that somebody has locked are left out, if the database can do that.
    """
    still = ExpressionWrapper(meant, output_field=BooleanField())
    found = rows(using).filter(IsAmong("pk", ids)).order_by("pk")
    locked = found.select_for_update() if wait else unlocked(found, using)
    values = locked.annotate(still_meant=still).values_list(*columns, "still_meant")
    return [tuple(each) for *each, still_meant in values if still_meant]
