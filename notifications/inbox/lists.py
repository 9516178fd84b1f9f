"""What a person's inbox shows: a page of notifications, and the counts."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Count, Model
from django.utils.translation import get_language

from notifications.inbox.keys import IsAmong
from notifications.inbox.objects import load_objects
from notifications.inbox.rendering import Content, Renderer
from notifications.inbox.states import LISTED, UNREAD, Priority, State
from notifications.inbox.table import rows

if TYPE_CHECKING:
    from notifications.inbox.models import Notification
    from notifications.inbox.numbering import Numbered

DEFAULT_LIMIT, MAX_LIMIT = 20, 100

FILTERS: dict[str, Collection[State]] = {
    "": LISTED,
    "unseen": (State.UNSEEN,),
    "unread": UNREAD,
    "read": (State.READ,),
    "archived": (State.ARCHIVED,),
    "all": tuple(State),
}
"""The states of the notifications in a list, by the name of the filter."""


@dataclass(frozen=True, slots=True)
class Page:
    """Notifications, newest first, as clients know them, and where the next page begins."""

    notifications: list[dict[str, Any]]
    before: int | None


def page(
    user: Model,
    *,
    limit: int = DEFAULT_LIMIT,
    before: int | None = None,
    state: str = "",
    category: str | None = None,
    kind: str | None = None,
    ids: Collection[UUID] = (),
) -> Page:
    """A page of a user's notifications, in the active language, by two to four queries.

    `before` is where the page before it ended. With `ids` it has these, whatever their state.
    """
    found = rows().filter(recipient_id=user.pk, number__isnull=False)
    found = found.filter(pk__in=ids) if ids else found.filter(state__in=FILTERS[state])
    if before is not None:
        found = found.filter(number__lt=before)
    if category is not None:
        found = found.filter(category=category)
    if kind is not None:
        found = found.filter(kind=kind)
    listed = list(found.order_by("-number")[: limit + 1])
    shown, renderer = listed[:limit], Renderer()
    load_objects(shown)
    entries = [entry(row, renderer.content(row)) for row in shown]
    return Page(entries, shown[-1].number if len(listed) > limit else None)


def counts(user: Model) -> dict[str, Any]:
    """How many of a user's notifications are unseen and unread, by one query."""
    return counts_of([user.pk])[user.pk]


def counts_of(
    recipient_ids: Iterable[Any], using: str | None = None
) -> Mapping[Any, dict[str, Any]]:
    """The counts of each of these users, by one query. Those who have the same share an object."""
    counted = (
        rows(using)
        .filter(IsAmong("recipient", recipient_ids), state__in=UNREAD, number__isnull=False)
        .order_by()
        .values_list("recipient_id", "category", "state")
        .annotate(count=Count("pk"))
    )
    found: defaultdict[Any, list[tuple[str, int, int]]] = defaultdict(list)
    for recipient, category, state, count in counted:
        found[recipient].append((category, state, count))
    # Of many people who are notified at once, most have the same.
    sums = cache(_counts)
    return defaultdict(_counts, {recipient: sums(tuple(each)) for recipient, each in found.items()})


def _counts(of_states: Iterable[tuple[str, int, int]] = ()) -> dict[str, Any]:
    """Of the counts of each category and state."""
    totals: dict[str, Any] = {"unseen": 0, "unread": 0, "categories": {}}
    for category, state, count in of_states:
        of_category = totals["categories"].setdefault(category, {"unseen": 0, "unread": 0})
        for each in (totals, of_category):
            each["unread"] += count
            each["unseen"] += count if state == State.UNSEEN else 0
    return totals


def entry(row: "Notification", content: Content) -> dict[str, Any]:
    """A notification as clients know it."""
    return {**short_entry(row), **content_entry(row, content)}


def content_entry(row: "Notification", content: Content) -> dict[str, Any]:
    """What a notification is about, in the active language."""
    return {
        "kind": row.kind,
        "category": row.category,
        "priority": Priority(row.priority).word,
        "group": row.group,
        "url": row.url,
        "html": content.html,
        "text": content.text,
        "language": get_language() or "",
        "created": row.created_at,
    }


def short_entry(row: "Notification | Numbered") -> dict[str, Any]:
    """What has become of a notification, for clients that have its content."""
    return {
        "id": str(row.pk),
        "number": row.number,
        "version": row.version,
        "state": State(row.state).word,
    }


def short_json(row: "Notification | Numbered") -> str:
    """`short_entry` as JSON, at a quarter of its cost: for many people at once. It has a number."""
    return (
        f'{{"id":"{row.pk}","number":{row.number},"version":{row.version},'
        f'"state":"{_WORDS[row.state]}"}}'
    )


_WORDS = {state.value: state.word for state in State}
