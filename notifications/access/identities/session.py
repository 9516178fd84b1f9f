"""Session identities: the user whom the project's authentication middleware found."""

import asyncio
from collections.abc import Awaitable, Callable

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.middleware import auser as session_user
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError, close_old_connections
from django.http import HttpRequest
from django.utils.module_loading import import_string

from notifications.access.identities.base import Identity, Kind, User
from notifications.hub.grants import session_subject, user_subject

ANONYMOUS = Identity(kind=Kind.ANONYMOUS, name="anonymous")
READ_TIMEOUT_SECONDS = 5.0


async def authenticate_session(request: HttpRequest) -> Identity:
    """The session's user; anonymous where the project has no authentication.

    Raises `DatabaseError` where the session cannot be read, or not within the time limit.
    """
    user = await _current_user(request)
    session = getattr(request, "session", None)
    return _identity(user, session.session_key if session is not None else None)


async def reauthenticate(identity: Identity) -> Identity | None:
    """The same identity, or None if its session has ended or its user is no longer active.

    Raises what the database raises.
    """
    current = await sync_to_async(_read_identity)(identity.credentials or "")
    return current if current.name == identity.name else None


async def _current_user(request: HttpRequest) -> User:
    auser: Callable[[], Awaitable[User]] | None = getattr(request, "auser", None)
    if auser is None:
        return AnonymousUser()
    try:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            # Django's own `auser` visits a thread, and the database, several times.
            if getattr(auser, "func", None) is session_user:
                return await _read_user(request)
            return await auser()
    except TimeoutError as error:
        raise OperationalError(
            f"The session was not read within {READ_TIMEOUT_SECONDS} s."
        ) from error


@sync_to_async
def _read_user(request: HttpRequest) -> User:
    """The user, by one visit to a thread."""
    user = request.user
    _ = user.is_authenticated  # `request.user` is lazy: this reads it, here in the thread
    return user


def _read_identity(credentials: str) -> Identity:
    close_old_connections()
    try:
        kind, _, value = credentials.partition(":")
        if kind == "user":
            return _identity(active_user(value), None)
        request = HttpRequest()
        request.session = import_string(f"{django_settings.SESSION_ENGINE}.SessionStore")(value)
        return _identity(get_user(request), value)
    finally:
        close_old_connections()


def active_user(pk: str) -> User:
    """The user of this primary key; anonymous if there is none, or none that is active."""
    user = get_user_model()._default_manager.filter(pk=pk).first()  # noqa: SLF001 - documented
    return user if user is not None and user.is_active else ANONYMOUS.user


def _identity(user: User, session_key: str | None) -> Identity:
    if not user.is_authenticated:
        return ANONYMOUS
    name = user_subject(user.pk)
    if session_key is None:
        return Identity(kind=Kind.SESSION, name=name, subjects=(name,), user=user, credentials=name)
    return Identity(
        kind=Kind.SESSION,
        name=name,
        subjects=(name, session_subject(session_key)),
        user=user,
        credentials=f"session:{session_key}",
    )
