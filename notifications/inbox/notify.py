"""`notify`: a row for each recipient, and the event that tells of it, in one transaction."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Model, QuerySet
from django.utils import timezone

from notifications.errors import Invalid
from notifications.events import compact_json
from notifications.inbox.delivery.table import write_deliveries
from notifications.inbox.events import write_new
from notifications.inbox.ids import new_ids
from notifications.inbox.inserting import insert_alike
from notifications.inbox.kinds import get_kind
from notifications.inbox.preferences.muting import mute
from notifications.inbox.states import Priority, State
from notifications.inbox.table import (
    BATCH_ROWS,
    content_type,
    database,
    groups,
    notifications,
    rows,
)

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

MAX_PARAMS_BYTES = 16 * 1024

type Recipients = Model | QuerySet[Any] | Iterable[Any]
"""A user, a group, a queryset of users or of groups, or a list of these and of primary keys."""


def notify(
    recipients: Recipients,
    kind: str,
    params: Mapping[str, Any] | None = None,
    *,
    actor: Model | None = None,
    target: Model | None = None,
    url: str = "",
    group: str = "",
    replaces: str = "",
    expires: datetime | timedelta | None = None,
    priority: Priority | None = None,
) -> int:
    """Notify people, and return how many. Each has it in the inbox, and on every open page.

    `kind` is one that was declared, and `params` is what its text is made of: anything that JSON
    can hold. `actor` (who did it) and `target` (what it is about) are saved models. A notification
    that `replaces` the one of the same name makes that unseen again, with the new content. It
    `expires` at a time, or so long from now.

    In a transaction all of it happens if and when that commits. Members of a group, and of a
    queryset of groups, are notified if they are active. Raises `Invalid` for arguments that make no
    notification, `ImproperlyConfigured` where the inbox is not installed, and what the database
    raises.
    """
    fields = _fields(
        kind, params, url=url, group=group, replaces=replaces, expires=expires, priority=priority
    )
    using = database()
    fields |= _reference("actor", actor, using) | _reference("target", target, using)
    notified, alike = 0, uuid4().hex
    with transaction.atomic(using=using):
        for recipient_ids in batched(_primary_keys(recipients, using), BATCH_ROWS):
            write = _replace if replaces else _add
            written = write(recipient_ids, fields, using)
            shown = mute(fields["category"], written, using=using)
            write_new(shown.items(), using=using, alike="" if replaces else alike)
            write_deliveries(get_kind(kind), written, created_at=fields["created_at"], using=using)
            notified += len(recipient_ids)
    return notified


anotify = sync_to_async(notify)
"""As `notify`, for code in an event loop."""


def _fields(
    kind: str,
    params: Mapping[str, Any] | None,
    *,
    url: str,
    group: str,
    replaces: str,
    expires: datetime | timedelta | None,
    priority: Priority | None,
) -> dict[str, Any]:
    from notifications.inbox.models import MAX_KEY_CHARACTERS, MAX_URL_CHARACTERS

    declared = get_kind(kind)
    for name, text, most in (
        ("url", url, MAX_URL_CHARACTERS),
        ("group", group, MAX_KEY_CHARACTERS),
        ("replaces", replaces, MAX_KEY_CHARACTERS),
    ):
        if len(text) > most:
            raise Invalid(f"{name} has at most {most} characters; this has {len(text)}.")
    if url and not is_local_or_web(url):
        raise Invalid("url is a path of this site or begins with https:// or http://.", field="url")
    now = timezone.now()
    return {
        "kind": declared.name,
        "category": declared.category,
        "priority": declared.priority if priority is None else Priority(priority),
        "params": _checked_params(dict(params or {})),
        "url": url,
        "group": group,
        "replaces": replaces or None,
        "created_at": now,
        "expires_at": now + expires if isinstance(expires, timedelta) else expires,
    }


def is_local_or_web(url: str) -> bool:
    """No `javascript:` and the like, since the url becomes a link."""
    return url.startswith(("/", "?", "#", "https://", "http://"))


def _checked_params(params: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(compact_json(params).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"params cannot be written as JSON: {error}.", field="params") from None
    if size > MAX_PARAMS_BYTES:
        raise Invalid(
            f"params have at most {MAX_PARAMS_BYTES} bytes as JSON; these have {size}.",
            field="params",
        )
    return params


def _reference(name: str, model: Model | None, using: str) -> dict[str, Any]:
    if model is None:
        return {f"{name}_type": None, f"{name}_id": ""}
    if not isinstance(model, Model) or model.pk is None:
        raise Invalid(f"{name} is a saved model, and not {model!r}.", field=name)
    return {f"{name}_type": content_type(model, using), f"{name}_id": str(model.pk)}


# Whom


def _primary_keys(recipients: Recipients, using: str) -> Iterator[Any]:
    """The primary keys of the users, each once."""
    if isinstance(recipients, QuerySet):
        return _keys_of_query(recipients, using)
    # `request.user` is lazy, and claims to be iterable whatever it stands for.
    is_one = isinstance(recipients, Model | str) or hasattr(recipients, "is_anonymous")
    if is_one or not isinstance(recipients, Iterable):
        recipients = [recipients]
    keys: dict[Any, None] = {}
    for recipient in recipients:
        keys.update(dict.fromkeys(_keys_of(recipient, using)))
    return iter(keys)


def _keys_of(recipient: object, using: str) -> Iterable[Any]:
    if isinstance(recipient, groups()):
        return _members([recipient.pk], using)
    if isinstance(recipient, QuerySet):
        return _keys_of_query(recipient, using)
    if isinstance(recipient, get_user_model()):
        recipient = recipient.pk
    if recipient is None or isinstance(recipient, Model) or hasattr(recipient, "is_anonymous"):
        raise Invalid(
            "A recipient is a saved user, a group, a queryset of them, or the primary key of a "
            f"user, and not {recipient!r}.",
            field="recipients",
        )
    try:  # the same person, given as "5" and as 5
        return (get_user_model()._meta.pk.to_python(recipient),)  # noqa: SLF001 - documented
    except ValidationError:
        raise Invalid(f"{recipient!r} is no primary key of a user.", field="recipients") from None


def _keys_of_query(query: QuerySet[Any], using: str) -> Iterator[Any]:
    if issubclass(query.model, groups()):
        # Not as a subquery: MariaDB takes none with a limit.
        return _members(list(query.values_list("pk", flat=True)), using)
    if not issubclass(query.model, get_user_model()):
        raise Invalid(
            f"Recipients are users or groups, and not {query.model.__name__}.", field="recipients"
        )
    keys = query.values_list("pk", flat=True)
    if query.query.is_sliced or query.query.combinator or query.query.distinct_fields:
        return iter(dict.fromkeys(keys.iterator(chunk_size=BATCH_ROWS)))  # SQL allows no more
    return keys.order_by("pk").distinct().iterator(chunk_size=BATCH_ROWS)


def _members(group_keys: Any, using: str) -> Iterator[Any]:
    users = get_user_model()._default_manager.db_manager(using)  # noqa: SLF001 - documented
    members = users.filter(groups__in=group_keys, is_active=True)
    keys = members.order_by("pk").values_list("pk", flat=True).distinct()
    return keys.iterator(chunk_size=BATCH_ROWS)


# Writing


def _add(recipient_ids: Collection[Any], fields: Mapping[str, Any], using: str) -> dict[Any, UUID]:
    ids = dict(zip(recipient_ids, new_ids(len(recipient_ids)), strict=True))
    insert_alike(
        notifications()(**fields), {"id": ids.values(), "recipient": ids.keys()}, using=using
    )
    return ids


def _replace(
    recipient_ids: Iterable[Any], fields: Mapping[str, Any], using: str
) -> dict[Any, UUID]:
    """Replace the rows that there are, and add the others.

    Whoever adds the same row at the same time waits here for the other's commit, and then replaces
    it. On InnoDB a lock on what is missing would be one on its neighbours too, so rows are looked
    for before they are locked.
    """
    model, missing, written = notifications(), set(recipient_ids), dict[Any, UUID]()
    found = _to_replace(fields, missing, using)
    while missing:
        found = dict(_locked(rows(using).filter(pk__in=found.values())))
        rows(using).filter(pk__in=found.values()).update(
            **fields, **_UNSEEN_AGAIN, version=F("version") + 1
        )
        written |= found
        missing -= found.keys()
        new = [model(recipient_id=recipient, **fields) for recipient in sorted(missing, key=str)]
        model.objects.using(using).bulk_create(new, ignore_conflicts=True)
        ours = {row.pk: row.recipient_id for row in new}
        added = rows(using).filter(pk__in=ours).values_list("pk", flat=True)
        written |= {ours[id]: id for id in added}
        missing -= {ours[id] for id in added}
        # What another transaction has just added. Only a lock shows it to all isolation levels.
        found = dict(_locked(_replaceable(fields, missing, using)))
    return written


_UNSEEN_AGAIN = {
    "state": State.UNSEEN,
    "pending": True,
    **dict.fromkeys(("seen_at", "read_at", "archived_at", "withdrawn_at", "expired_at")),
}


def _replaceable(
    fields: Mapping[str, Any], recipient_ids: set[Any], using: str
) -> "QuerySet[Notification]":
    return rows(using).filter(replaces=fields["replaces"], recipient_id__in=recipient_ids)


def _to_replace(fields: Mapping[str, Any], recipient_ids: set[Any], using: str) -> dict[Any, UUID]:
    found = _replaceable(fields, recipient_ids, using)
    return dict(found.values_list("recipient_id", "pk"))


def _locked(found: "QuerySet[Notification]") -> Iterable[tuple[Any, UUID]]:
    return found.select_for_update().order_by("pk").values_list("recipient_id", "pk")
