"""The notifications of other packages become rows of the inbox, each once, without events."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import Model
from django.utils import timezone

from notifications.conf import get_settings
from notifications.inbox.kinds import COMMUNITY, GENERIC, generic_kind
from notifications.inbox.notify import is_local_or_web
from notifications.inbox.objects import load_objects
from notifications.inbox.states import MAX_NAME_CHARACTERS, State
from notifications.inbox.table import BATCH_ROWS, content_type, notifications, rows

MAX_TEXT_CHARACTERS = 3_000
"""A longer description or text is cut: a notification has no room for it."""


class NothingToImport(LookupError):
    """The database has no table of that package."""


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows became notifications; how many were such already, or too old to stay."""

    new: int
    known: int
    old: int


@dataclass(frozen=True, slots=True)
class _Source:
    model: str
    table: str
    make: Callable[[Any, str], dict[str, Any]]
    """The fields of a notification, of a row and the name of a database."""
    made_at: str
    objects: tuple[str, ...]
    """What is loaded with the rows of a batch."""
    first_number: int
    """Far below those that relays give: what is imported is older than what arrives."""


def import_rows(source: str, *, using: str, table: str = "") -> Imported:
    """Import the rows of `community` or `generic`, with their state and times, in batches.

    Repeatable: a row that was imported, or that came by the channel, is known. Nobody is told:
    numbers are given here, in the order of the rows and below all that relays give. Raises
    `NothingToImport`, and what the database raises.
    """
    from notifications.inbox import foreign_tables  # it needs models that are loaded

    chosen, table = _SOURCES[source], table or _SOURCES[source].table
    model = foreign_tables.model_of(getattr(foreign_tables, chosen.model), table)
    if table not in connections[using].introspection.table_names():
        raise NothingToImport(table)
    limit = timezone.now() - timedelta(seconds=get_settings().INBOX_AGE)
    total, last = Imported(0, 0, 0), 0
    while some := list(
        model._default_manager.using(using).filter(pk__gt=last).order_by("pk")[:BATCH_ROWS]  # noqa: SLF001
    ):
        last = some[-1].pk
        recent = [row for row in some if getattr(row, chosen.made_at) >= limit]
        new, known = _add(source, recent, using)
        total = Imported(total.new + new, total.known + known, total.old + len(some) - len(recent))
    return total


def _add(source: str, found: list[Any], using: str) -> tuple[int, int]:
    chosen, model = _SOURCES[source], notifications()
    found = [row for row in found if not getattr(row, "deleted", False)]
    keys = {row.pk: replaces_of(source, row.pk) for row in found}
    theirs = rows(using).filter(recipient_id__in={row.recipient_id for row in found})
    known = set(theirs.filter(replaces__in=keys.values()).values_list("recipient_id", "replaces"))
    unknown = [row for row in found if (row.recipient_id, keys[row.pk]) not in known]
    load_objects(unknown, chosen.objects)
    new = [
        model(
            recipient_id=row.recipient_id,
            replaces=keys[row.pk],
            number=chosen.first_number + row.pk,
            pending=False,
            created_at=getattr(row, chosen.made_at),
            **chosen.make(row, using),
        )
        for row in unknown
    ]
    with transaction.atomic(using=using):
        model.objects.using(using).bulk_create(new, ignore_conflicts=True)
    return len(new), len(found) - len(new)


def replaces_of(source: str, pk: object) -> str:
    """By this name a row is known when it comes again."""
    return f"{source}:{pk}"


def url_of(model: Model | None) -> str:
    """The address of what a notification is about, if it has one."""
    find = getattr(model, "get_absolute_url", None)
    if find is None:
        return ""
    try:
        url = str(find())
    except Exception:  # noqa: BLE001 - code of the site, which may need a request
        return ""
    return url if is_local_or_web(url) else ""


def _community(row: Any, _: str) -> dict[str, Any]:
    return {
        "kind": COMMUNITY.name,
        "state": State.UNSEEN if row.unread else State.READ,
        "params": {
            "verb": row.verb,
            "action_object": str(row.action_object or ""),
            "description": (row.description or "")[:MAX_TEXT_CHARACTERS],
            "level": row.level,
            "data": row.data or {},
        },
        "actor_type_id": row.actor_content_type_id,
        "actor_id": row.actor_object_id,
        "target_type_id": row.target_content_type_id,
        "target_id": row.target_object_id or "",
        "url": url_of(row.target) or url_of(row.action_object),
    }


def _generic(row: Any, using: str) -> dict[str, Any]:
    kind = generic_kind(f"{GENERIC}.{row.notification_type}"[:MAX_NAME_CHARACTERS])
    is_by_somebody = row.actor_id is not None
    return {
        "kind": kind.name,
        "category": kind.category,
        "state": State.READ if row.read else State.UNSEEN,
        "seen_at": row.read,
        "read_at": row.read,
        "params": generic_params(_in_their_words(row)),
        "actor_type": content_type(get_user_model()(), using) if is_by_somebody else None,
        "actor_id": str(row.actor_id) if is_by_somebody else "",
        "target_type_id": row.content_type_id,
        "target_id": row.object_id or "",
        "url": row.url if is_local_or_web(row.url) else "",
    }


def generic_params(row: Any) -> dict[str, Any]:
    """What is kept of a row of django-generic-notifications.

    `fallback` is its text of now, for a site where that package is gone.
    """
    find_text = getattr(row, "get_text", None)
    return {
        "subject": row.subject,
        "text": row.text[:MAX_TEXT_CHARACTERS],
        "metadata": row.metadata,
        "fallback": "" if row.text or find_text is None else find_text(),
    }


def _in_their_words(row: Any) -> Any:
    """The row as a model of its own package, which may make the text, if that is installed."""
    if not apps.is_installed("generic_notifications"):
        return row
    model: Any = apps.get_app_config("generic_notifications").get_model("Notification")
    names: Iterable[str] = [field.attname for field in row._meta.concrete_fields]  # noqa: SLF001
    return model(**{name: getattr(row, name) for name in names})


_SOURCES: Mapping[str, _Source] = {
    "community": _Source(
        *("Community", "notifications_notification", _community, "timestamp"),
        objects=("target", "action_object"),
        first_number=-(2**52),
    ),
    GENERIC: _Source(
        *("Generic", "generic_notifications_notification", _generic, "added"),
        objects=(),
        first_number=-(2**51),
    ),
}
SOURCES = tuple(_SOURCES)
