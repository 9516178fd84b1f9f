"""Logins: the name that a session keeps from its log-in to its end, and what became of it.

The key of a session is no such name: `cycle_key` changes it, and under signed_cookies each write
does. So a random id is put into the session when somebody logs in, and the streams of the session
have it as their subject. A session from before that has a subject of its key.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import signed_cookies
from django.utils.module_loading import import_string

from notifications.access.identities.sealing import seal, unseal
from notifications.hub.grants import session_subject
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import ControlAction, ControlEntry

LOGIN_KEY = "_carillon_login"
"""The key in the session: its value is the id of the login, and the primary key of its user."""
SUBJECT_PREFIX = "session:"

MOVING, MOVED = "moving", "moved:"
"""Reasons of control entries: a session gets another key; it has been saved under that key."""
MOVING_SECONDS = 10.0
"""How long a session that moves may be unreadable before that counts as its end."""
REMEMBERED_SECONDS = 600.0
MAX_ENDED = 50_000


def subject_of(data: Mapping[str, Any], session_key: str | None) -> str | None:
    """The subject of the login in this session; None if nobody is logged in."""
    if data.get(SESSION_KEY) is None:
        return None
    value: Any = data.get(LOGIN_KEY)
    if _is_of_user(value, data[SESSION_KEY]):
        return f"{SUBJECT_PREFIX}{value[0]}"
    return session_subject(session_key) if session_key else None


def value_for(data: Mapping[str, Any], subject: str | None) -> list[str]:
    """What the session of this login has under `LOGIN_KEY`; without a subject, of a new login."""
    id = secrets.token_hex(16) if subject is None else subject.removeprefix(SUBJECT_PREFIX)
    return [id, str(data[SESSION_KEY])]


def has_id(data: Mapping[str, Any]) -> bool:
    """Whether the session names its login, which is that of its present user."""
    return _is_of_user(data.get(LOGIN_KEY), data.get(SESSION_KEY))


def _is_of_user(value: Any, pk: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[1] == str(pk)


def store_class() -> Any:
    """The `SessionStore` of the site's `SESSION_ENGINE`."""
    return import_string(f"{django_settings.SESSION_ENGINE}.SessionStore")


def is_in_cookie(store: type) -> bool:
    """Whether the session is in its cookie, so that nothing can be looked up or deleted."""
    return issubclass(store, signed_cookies.SessionStore)


def moved_reason(session_key: str) -> str:
    return f"{MOVED}{seal(session_key)}"


@dataclass(frozen=True, slots=True)
class _Move:
    at: float
    key: str | None
    under_way: bool


class LoginChanges:
    """What control entries reported of logins: which have moved to another key, and which ended.

    Each process has one, and control entries reach every process.
    """

    def __init__(self) -> None:
        self._moves: dict[str, _Move] = {}
        self._ended: dict[str, float] = {}

    def observe(self, control: ControlEntry) -> None:
        now = time.monotonic()
        subjects = [name for name in map(_bare, control.subjects) if name]
        if control.action is ControlAction.END:
            if control.reason == CloseReason.SIGNED_OUT:
                for subject in subjects:
                    self._ended.pop(subject, None)
                    self._ended[subject] = now
                _drop_first(self._ended, len(self._ended) - MAX_ENDED)
            return
        moved = control.reason.startswith(MOVED)
        if not moved and control.reason != MOVING:
            return
        key = unseal(control.reason.removeprefix(MOVED)) if moved else None
        for subject in subjects:
            before = self._moves.pop(subject, None)
            self._moves[subject] = _Move(
                now, key or (before.key if before else None), under_way=not moved
            )
        old = [
            name for name, move in list(self._moves.items()) if now - move.at > REMEMBERED_SECONDS
        ]
        _drop_first(self._moves, len(old))

    def observe_past(self, control: ControlEntry) -> None:
        """A control entry that the log had before this process began."""
        if control.action is ControlAction.END:
            self.observe(control)

    def current_key(self, subject: str | None, session_key: str, *, since: float = 0.0) -> str:
        """The key under which the session of this login is kept now.

        `since` is when it had the key that is known, by the clock `time.monotonic`.
        """
        move = self._moves.get(subject or "")
        return move.key if move and move.key and move.at > since else session_key

    def is_moving(self, subject: str | None) -> bool:
        """Whether the session has another key, and has not been saved under it yet."""
        move = self._moves.get(subject or "")
        return move is not None and move.under_way and time.monotonic() - move.at < MOVING_SECONDS

    def has_ended(self, subject: str | None) -> bool:
        """Whether the login has ended, as far as this process remembers.

        Django may delete the session only after the control entry, and a cookie that is the
        session itself is good until it expires.
        """
        at = self._ended.get(subject or "")
        if at is None:
            return False
        in_cookie = is_in_cookie(store_class())
        age = django_settings.SESSION_COOKIE_AGE if in_cookie else REMEMBERED_SECONDS
        return time.monotonic() - at < age


def _bare(subject: str) -> str:
    """The subject of a login without its namespace; "" for another subject."""
    _, prefix, id = subject.rpartition(SUBJECT_PREFIX)
    return prefix + id if prefix else ""


def _drop_first(entries: dict[str, Any], count: int) -> None:
    for name in list(entries)[: max(0, count)]:
        entries.pop(name, None)


changes = LoginChanges()
