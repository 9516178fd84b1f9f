"""Handlers of Django's signals: a permission that may have ended becomes a control entry.

A control entry reaches every process, which then ends or rechecks the streams of its subjects.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, Group, PermissionsMixin
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.http import HttpRequest

from notifications.access.identities import api_keys
from notifications.hub import runtime
from notifications.hub.grants import session_subject, user_subject
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import EVERYONE, ControlEntry
from notifications.models import ApiKey
from notifications.publishing.control import end_streams, recheck_streams_on_commit

_M2M_CHANGES = {"post_add", "post_remove", "post_clear"}


def connect() -> None:
    """Connects the handlers: call it once, when Django's applications are loaded."""
    runtime.control_observers.append(_forget_keys)
    user = get_user_model()
    user_logged_out.connect(_on_logout, dispatch_uid="carillon")
    post_save.connect(_on_user_saved, sender=user, dispatch_uid="carillon")
    post_delete.connect(_on_user_deleted, sender=user, dispatch_uid="carillon")
    post_save.connect(_on_key_saved, sender=ApiKey, dispatch_uid="carillon")
    post_delete.connect(_on_key_deleted, sender=ApiKey, dispatch_uid="carillon")
    post_delete.connect(_on_group_deleted, sender=Group, dispatch_uid="carillon")
    m2m_changed.connect(
        _on_group_permissions_changed, sender=Group.permissions.through, dispatch_uid="carillon"
    )
    if issubclass(user, PermissionsMixin):
        for name in ("groups", "user_permissions"):
            through: Any = getattr(user, name).through
            m2m_changed.connect(_on_memberships_changed, sender=through, dispatch_uid="carillon")


def _forget_keys(control: ControlEntry) -> None:
    """Another process may have changed these keys, so the next request reads them again."""
    for subject in control.subjects:
        api_keys.forget(subject)


def _on_logout(*, request: HttpRequest, **_: Any) -> None:
    session = getattr(request, "session", None)
    if session is not None and session.session_key:
        end_streams(session_subject(session.session_key), reason=CloseReason.SIGNED_OUT)


def _on_user_saved(
    *,
    instance: AbstractBaseUser,
    created: bool,
    update_fields: Iterable[str] | None,
    using: str,
    **_: Any,
) -> None:
    # Each login saves `last_login`, which no permission depends on.
    if not created and set(update_fields or ()) != {"last_login"}:
        recheck_streams_on_commit(user_subject(instance.pk), using=using)


def _on_user_deleted(*, instance: AbstractBaseUser, using: str, **_: Any) -> None:
    recheck_streams_on_commit(user_subject(instance.pk), using=using)


def _on_key_saved(*, instance: ApiKey, created: bool, using: str, **_: Any) -> None:
    if not created:
        recheck_streams_on_commit(instance.subject, using=using)


def _on_key_deleted(*, instance: ApiKey, using: str, **_: Any) -> None:
    recheck_streams_on_commit(instance.subject, using=using)


def _on_group_deleted(*, using: str, **_: Any) -> None:
    recheck_streams_on_commit(EVERYONE, using=using)


def _on_group_permissions_changed(*, action: str, using: str, **_: Any) -> None:
    if action in _M2M_CHANGES:
        recheck_streams_on_commit(EVERYONE, using=using)


def _on_memberships_changed(
    *,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: set[object] | None,
    using: str,
    **_: Any,
) -> None:
    """Groups or permissions of users changed.

    `instance` is the user, and `pk_set` the groups or permissions. With `reverse` it is the other
    way round, and `pk_set` is None where a group or permission was taken from all its users.
    """
    if action not in _M2M_CHANGES:
        return
    users = pk_set if reverse else {instance.pk}
    subjects = [EVERYONE] if users is None else [user_subject(pk) for pk in users]
    if subjects:
        recheck_streams_on_commit(*subjects, using=using)
