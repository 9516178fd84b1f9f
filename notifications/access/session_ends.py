"""The end of sessions: of one by a log-out, of rows that are deleted, of many at once."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache, partial, wraps
from importlib import import_module
from itertools import batched
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import apps
from django.contrib.sessions.backends import cached_db
from django.db import models, router, transaction
from django.db.models.signals import post_delete
from django.utils import timezone

from notifications.access import session_moves
from notifications.access.identities import logins
from notifications.conf import get_settings
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import EVERYONE
from notifications.publishing.control import (
    end_streams,
    recheck_streams,
    recheck_streams_on_commit,
)

UID = "carillon"
SUBJECTS_PER_ENTRY = 100
MAX_ENDED_AT_ONCE = 1_000
"""If more sessions end at once, all streams are rechecked, because entries take room in the log."""
DUPLICATE_SECONDS = 5.0
"""Within these, a log-out and the deletion of its session are one end."""
_FIELDS = {"session_key", "session_data", "expire_date"}

_ended_lately: dict[str, float] = {}
_of_queries: WeakKeyDictionary[Any, tuple[list[str], list[str]]] = WeakKeyDictionary()
"""The subjects and the session keys of the rows that a `QuerySet.delete()` has deleted."""
_clearing = threading.Lock()


def end(login: str, *, store: Any = None) -> None:
    """End the streams of this login: when its row is deleted for good, or else at once."""
    model = model_of(store) if store is not None else None
    if model is None:
        end_now([login])
    else:
        _on_commit(partial(end_now, [login]), router.db_for_write(model))


def end_now(subjects: Iterable[str]) -> None:
    now = time.monotonic()
    for past in [name for name, at in list(_ended_lately.items()) if now - at > DUPLICATE_SECONDS]:
        _ended_lately.pop(past, None)
    fresh = [name for name in dict.fromkeys(subjects) if name not in _ended_lately]
    if len(fresh) > MAX_ENDED_AT_ONCE:
        recheck_streams(EVERYONE)
        return
    _ended_lately.update(dict.fromkeys(fresh, now))
    for part in batched(fresh, SUBJECTS_PER_ENTRY):
        end_streams(*part, reason=CloseReason.SIGNED_OUT)


def recheck(login: str, reason: str, *, store: Any) -> None:
    """Recheck the streams of this login, when what was saved can be read."""
    model = model_of(store)
    if model is None:
        recheck_streams(login, reason=reason)
    else:
        recheck_streams_on_commit(login, using=router.db_for_write(model), reason=reason)


def recheck_now(login: str, reason: str) -> None:
    recheck_streams(login, reason=reason)


def _on_commit(send: Callable[[], None], using: str) -> None:
    transaction.on_commit(send, using=using, robust=True)


# Rows of sessions


def session_models() -> list[type[models.Model]]:
    """The installed models of sessions: Django's, and every other with the same fields."""
    return [
        model
        for model in apps.get_models()
        if {field.name for field in model._meta.fields} >= _FIELDS  # noqa: SLF001 - documented
    ]


@cache
def model_of(store: Any) -> Any:
    """The model in which the store keeps its sessions; None for a cache, files or cookies."""
    get_model = getattr(store, "get_model_class", None)
    if get_model is not None:
        return get_model()
    known = session_models()  # django-user-sessions has its model beside its store
    return next(
        (name for name in vars(import_module(store.__module__)).values() if name in known), None
    )


def has_rows(store: Any) -> bool:
    return model_of(store) is not None


def connect(model: type[models.Model]) -> None:
    post_delete.connect(_on_row_deleted, sender=model, dispatch_uid=UID)


def _on_row_deleted(*, instance: Any, using: str, origin: Any = None, **_: Any) -> None:
    if session_moves.is_moving() or not _may_have_streams(instance.expire_date):
        return
    login = _login_of_row(instance)
    if login is None:
        return
    if not isinstance(origin, models.QuerySet):
        _on_commit(partial(_end_rows, [login], [instance.session_key]), using)
        return
    # One query may delete many rows: their ends are sent together.
    if origin not in _of_queries:
        _of_queries[origin] = [], []
        _on_commit(partial(_end_rows, *_of_queries[origin]), using)
    for known, value in zip(_of_queries[origin], (login, instance.session_key), strict=True):
        known.append(value)


def _end_rows(subjects: list[str], session_keys: list[str]) -> None:
    end_now(subjects)
    store = logins.store_class()
    if model_of(store) is not None and issubclass(store, cached_db.SessionStore):
        for key in session_keys:  # the cache would keep the session alive
            store(key).delete()


def _may_have_streams(expire_date: datetime) -> bool:
    """A session that expired long ago has none: their grants have been rechecked since."""
    return expire_date > timezone.now() - _longest_after_expiry()


def _longest_after_expiry() -> timedelta:
    return timedelta(seconds=2 * get_settings().GRANT_MAX_AGE + 60)


def _login_of_row(row: Any) -> str | None:
    return logins.subject_of(row.get_decoded(), row.session_key)


# Rows that have expired


def observed_clearing(clear: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wraps a store's `clear_expired`, which `clearsessions` calls.

    With a receiver of `post_delete` Django would load all the rows that it deletes, which may be
    millions. So the receiver is away meanwhile, and only rows that expired lately are read.
    """

    @wraps(clear)
    def clear_expired(cls: Any) -> Any:
        model = model_of(cls)
        if model is None:
            return clear(cls)
        now = timezone.now()
        lately = model.objects.using(router.db_for_write(model)).filter(
            expire_date__lt=now, expire_date__gt=now - _longest_after_expiry()
        )
        ended = [login for row in lately.iterator() if (login := _login_of_row(row))]
        with _disconnected(model):
            result = clear(cls)
        _on_commit(partial(end_now, ended), router.db_for_write(model))
        return result

    return clear_expired


@contextmanager
def _disconnected(model: type[models.Model]) -> Iterator[None]:
    with _clearing:
        post_delete.disconnect(sender=model, dispatch_uid=UID)
        try:
            yield
        finally:
            connect(model)
