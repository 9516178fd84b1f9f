"""Handlers of the signals about sessions: logging in and out, impersonation, another engine."""

from typing import Any

from django.apps import apps
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from notifications.access import session_ends, session_store
from notifications.access.identities import logins
from notifications.publishing.control import recheck

UID = "carillon"
PACKAGE_SIGNALS = (
    "hijack.signals.hijack_started",
    "hijack.signals.hijack_ended",
    "impersonate.signals.session_begin",
    "impersonate.signals.session_end",
)
"""Of django-hijack and django-impersonate. They come before the session is saved."""


def connect() -> None:
    """Connects the handlers: call it when Django's applications are loaded."""
    user_logged_in.connect(_on_login, dispatch_uid=UID)
    user_logged_out.connect(_on_logout, dispatch_uid=UID)
    for model in session_ends.session_models():
        session_ends.connect(model)
    _observe_engine()
    setting_changed.connect(_on_setting_changed, dispatch_uid=UID)
    for path in PACKAGE_SIGNALS:
        if apps.is_installed(path.partition(".")[0]):
            import_string(path).connect(_on_impersonation, dispatch_uid=UID)


def _observe_engine() -> None:
    session_store.observe(logins.store_class())


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "SESSION_ENGINE":
        _observe_engine()


def _on_login(*, request: Any, **_: Any) -> None:
    """Name the login in its session, which is written now anyway."""
    session = getattr(request, "session", None)
    if session is None or session.get(SESSION_KEY) is None or logins.has_id(session):
        return
    session[logins.LOGIN_KEY] = logins.value_for(session, None)


def _on_logout(*, request: Any, **_: Any) -> None:
    session = getattr(request, "session", None)
    login = None if session is None else logins.subject_of(session, session.session_key)
    if login is not None:
        session_ends.end_now([login])


def _on_impersonation(*, request: Any, **_: Any) -> None:
    recheck(session=request.session)
