"""The user of a request, by one visit to a thread at the most."""

import asyncio
from collections.abc import Awaitable, Callable

from asgiref.sync import sync_to_async
from django.contrib.auth.middleware import auser as session_user
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.http import HttpRequest

from notifications.identities.base import User

TIMEOUT = 5.0


async def current_user(request: HttpRequest) -> User:
    """Who asks; anonymous where the project has no authentication.

    Raises `DatabaseError` where the session cannot be read, or not soon.
    """
    auser: Callable[[], Awaitable[User]] | None = getattr(request, "auser", None)
    if auser is None:
        return AnonymousUser()
    try:
        async with asyncio.timeout(TIMEOUT):
            # Django's own goes to the database, and to a thread, several times.
            if getattr(auser, "func", None) is session_user:
                return await _read_user(request)
            return await auser()
    except TimeoutError as error:
        raise OperationalError(f"The session was not read within {TIMEOUT} s.") from error


@sync_to_async
def _read_user(request: HttpRequest) -> User:
    user = request.user
    _ = user.is_authenticated  # it is lazy
    return user
