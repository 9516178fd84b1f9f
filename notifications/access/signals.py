"""What in Django ends a permission: its signals, as orders to every process."""

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
from notifications.log.base import EVERYONE, Control
from notifications.models import ApiKey
from notifications.publishing import control as control_module

_CHANGES = {"post_add", "post_remove", "post_clear"}


def connect() -> None:
    """Once, when Django's applications are loaded."""
    runtime.control_observers.append(_heed)
    user = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="carillon")
    post_save.connect(_user_saved, sender=user, dispatch_uid="carillon")
    post_delete.connect(_user_deleted, sender=user, dispatch_uid="carillon")
    for saved_or_deleted in (post_save, post_delete):
        saved_or_deleted.connect(_key_changed, sender=ApiKey, dispatch_uid="carillon")
    post_delete.connect(_group_changed, sender=Group, dispatch_uid="carillon")
    m2m_changed.connect(_group_changed, sender=Group.permissions.through, dispatch_uid="carillon")
    if issubclass(user, PermissionsMixin):
        for name in ("groups", "user_permissions"):
            through: Any = getattr(user, name).through
            m2m_changed.connect(_memberships_changed, sender=through, dispatch_uid="carillon")


def _heed(control: Control) -> None:
    """What this process remembers of keys may be true no longer."""
    for subject in control.subjects:
        api_keys.forget(subject)


def _logged_out(*, request: HttpRequest, **_: Any) -> None:
    session = getattr(request, "session", None)
    if session is not None and session.session_key:
        control_module.end(session_subject(session.session_key), reason=CloseReason.SIGNED_OUT)


def _user_saved(
    *,
    instance: AbstractBaseUser,
    created: bool,
    update_fields: Iterable[str] | None,
    using: str,
    **_: Any,
) -> None:
    # Every login saves the time of it, and that changes nothing.
    if not created and set(update_fields or ()) != {"last_login"}:
        control_module.ask_again_on_commit(user_subject(instance.pk), using=using)


def _user_deleted(*, instance: AbstractBaseUser, using: str, **_: Any) -> None:
    control_module.ask_again_on_commit(user_subject(instance.pk), using=using)


def _key_changed(*, instance: ApiKey, using: str, created: bool = False, **_: Any) -> None:
    if not created:
        control_module.ask_again_on_commit(instance.subject, using=using)


def _group_changed(*, using: str, action: str = "post_delete", **_: Any) -> None:
    if action in _CHANGES | {"post_delete"}:
        control_module.ask_again_on_commit(EVERYONE, using=using)


def _memberships_changed(
    *,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: set[object] | None,
    using: str,
    **_: Any,
) -> None:
    """Groups or permissions of users: `instance` is the user, or, in `reverse`, the other side."""
    if action not in _CHANGES:
        return
    users = pk_set if reverse else {instance.pk}
    subjects = [EVERYONE] if users is None else [user_subject(pk) for pk in users]
    if subjects:
        control_module.ask_again_on_commit(*subjects, using=using)
