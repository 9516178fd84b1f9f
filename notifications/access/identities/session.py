"""Session identities: the user whom the project's authentication middleware found."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY, get_user, get_user_model
from django.contrib.auth.middleware import auser as session_user
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError, close_old_connections
from django.http import HttpRequest

from notifications.access.identities import impersonate, session_crowd
from notifications.access.identities.base import Identity, Kind, User
from notifications.access.identities.logins import (
    MOVING_SECONDS,
    SUBJECT_PREFIX,
    changes,
    store_class,
    subject_of,
)
from notifications.access.identities.session_life import SessionLife, life_of
from notifications.access.identities.session_queries import read_user
from notifications.access.identities.substitution import SessionCopy, Substitution
from notifications.hub.grants import Unsettled, user_subject

ANONYMOUS = Identity(kind=Kind.ANONYMOUS, name="anonymous")
READ_TIMEOUT_SECONDS = 5.0
SECOND_LOOK_SECONDS = 0.5
"""How long a session that is gone, or has another password's hash, may be one that is being changed
by the request that changes the password."""


async def authenticate_session(request: HttpRequest) -> Identity:
    """The session's user; anonymous where the project has no authentication.

    Raises `DatabaseError` where the session cannot be read, or not within the time limit.
    """
    user = await _current_user(request)
    if not user.is_authenticated:
        return ANONYMOUS
    session = getattr(request, "session", None)
    # If nothing has read the session, the user does not come from there. Reading it might block.
    if session is None or not session.accessed:
        return _identity_without_session(request, user, has_session=session is not None)
    login = subject_of(session, session.session_key)
    if changes.has_ended(login):
        return ANONYMOUS
    real = session.get(SESSION_KEY)
    if real is None or real != _text_of_pk(user):
        return _substituted(request, user, real=real, login=login)
    return _identity(user, session.session_key, login, life_of(session))


async def reauthenticate(identity: Identity) -> Identity | None:
    """The same identity, or None if its session has ended or its user is no longer active.

    Raises what the database raises, and `Unsettled` for a session that is being changed just now.
    """
    current = await sync_to_async(_read_identity)(identity)
    return current if current.name == identity.name else None


async def _current_user(request: HttpRequest) -> User:
    auser: Callable[[], Awaitable[User]] | None = getattr(request, "auser", None)
    if auser is None:
        return AnonymousUser()
    try:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            # Django's own `auser` visits a thread, and the database, several times.
            if getattr(auser, "func", None) is session_user:
                is_read = await session_crowd.read_user(request)
                return request.user if is_read else await _read_user(request)
            return await auser()
    except TimeoutError as error:
        raise OperationalError(
            f"The session was not read within {READ_TIMEOUT_SECONDS} s."
        ) from error


@sync_to_async
def _read_user(request: HttpRequest) -> User:
    """The user, by one visit to a thread."""
    read_user(request)
    user = request.user
    _ = user.is_authenticated  # `request.user` is lazy: this reads it, here in the thread
    return user


def _text_of_pk(user: Any) -> str:
    """The primary key as `login` writes it into the session, of a user with a model."""
    meta = getattr(user, "_meta", None)
    return str(user.pk if meta is None else meta.pk.value_to_string(user))


# Reading it again


def _read_identity(identity: Identity) -> Identity:
    close_old_connections()
    try:
        kind, _, value = (identity.credentials or "").partition(":")
        if kind == "user":
            return _identity(active_user(value))
        login = login_of(identity)
        if changes.has_ended(login):
            return ANONYMOUS
        since, _, session_key = value.partition(":")
        key = changes.current_key(login, session_key, since=float(since))
        session = SessionCopy(store_class()(key).items() if key else ())
        if login is not None and not _is_same_login(session, key, login):
            return ANONYMOUS
        if identity.substitution is not None:
            return _read_substituted(identity, identity.substitution, session, key)
        return _identity(_session_user(session, login), key, login, life_of(session))
    finally:
        close_old_connections()


def login_of(identity: Identity) -> str | None:
    return next((name for name in identity.subjects if name.startswith(SUBJECT_PREFIX)), None)


def _is_same_login(session: SessionCopy, key: str, login: str) -> bool:
    """Raises `Unsettled` if nobody is logged in: the session may just be getting another key."""
    if session.get(SESSION_KEY) is None:
        raise _unsettled(login)
    return subject_of(session, key) == login


def _session_user(session: SessionCopy, login: str | None) -> User:
    """Raises `Unsettled` if the password has changed, which the session may get to know soon."""
    request = HttpRequest()
    request.session = session  # type: ignore[assignment]
    user = get_user(request)
    if session.is_flushed:
        raise _unsettled(login)
    return user


def _unsettled(login: str | None) -> Unsettled:
    return Unsettled(MOVING_SECONDS if changes.is_moving(login) else SECOND_LOOK_SECONDS)


def _read_substituted(
    identity: Identity, substitution: Substitution, session: SessionCopy, key: str
) -> Identity:
    login = login_of(identity)
    if substitution.real is not None:
        real = _session_user(SessionCopy(session), login)
        if not real.is_authenticated or _text_of_pk(real) != substitution.real:
            return ANONYMOUS
    user = substitution.user_now(session)
    if not user.is_authenticated or (substitution.was_active and not user.is_active):
        return ANONYMOUS
    return _substituted_identity(user, substitution, key, login, session)


def active_user(pk: str) -> User:
    """The user of this primary key; anonymous if there is none, or none that is active."""
    user = get_user_model()._default_manager.filter(pk=pk).first()  # noqa: SLF001 - documented
    return user if user is not None and user.is_active else ANONYMOUS.user


# The identities


def _identity(
    user: User,
    session_key: str | None = None,
    login: str | None = None,
    life: SessionLife | None = None,
) -> Identity:
    if not user.is_authenticated:
        return ANONYMOUS
    name = user_subject(user.pk)
    if login is None:
        return Identity(
            kind=Kind.SESSION,
            name=name,
            subjects=(name,),
            user=user,
            credentials=f"user:{user.pk}",
        )
    return Identity(
        kind=Kind.SESSION,
        name=name,
        subjects=(name, login),
        user=user,
        credentials=credentials_of(session_key),
        life=life,
    )


def credentials_of(session_key: str | None) -> str:
    """The key, and when the session had it."""
    return f"session:{time.monotonic()}:{session_key or ''}"


def session_key_of(identity: Identity) -> str:
    """The key that the session had when the identity was read; "" if it is not a session's."""
    kind, _, value = (identity.credentials or "").partition(":")
    return value.partition(":")[2] if kind == "session" else ""


def _identity_without_session(request: HttpRequest, user: User, *, has_session: bool) -> Identity:
    if has_session:
        return _substituted(request, user, real=None, login=None)
    return _identity(user)


def _substituted(
    request: HttpRequest, user: User, *, real: str | None, login: str | None
) -> Identity:
    """The identity of a user whom a middleware put in place of the session's own."""
    scope = getattr(request, "scope", None)
    if scope is None:
        return _identity(user)
    session: Any = request.session
    substitution = Substitution.of(scope, user, real=real)
    data = session if session.accessed else {}
    return _substituted_identity(user, substitution, session.session_key, login, data)


def _substituted_identity(
    user: User,
    substitution: Substitution,
    session_key: str | None,
    login: str | None,
    session: Mapping[str, Any],
) -> Identity:
    name = user_subject(user.pk)
    real = () if substitution.real is None else (user_subject(substitution.real),)
    return Identity(
        kind=Kind.SESSION,
        name=name,
        subjects=(name, *real, *((login,) if login else ())),
        user=user,
        until=impersonate.end_of(session),
        credentials=credentials_of(session_key),
        substitution=substitution,
    )
