"""Which of its credentials a request is taken by."""

from dataclasses import replace

from django.http import HttpRequest

from notifications.errors import Unauthenticated
from notifications.identities import keys, session
from notifications.identities.base import Identity, Kind


def shows_credentials(request: HttpRequest) -> bool:
    """Whether the request says by itself who asks, and not by a cookie."""
    return "Authorization" in request.headers


async def identify(request: HttpRequest) -> Identity:
    """Raises `Unauthenticated` for credentials that are not good; without any, it is anonymous."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        return await session.by_session(request)
    if scheme.lower() != "bearer":
        raise Unauthenticated("The scheme of Authorization is 'Bearer'.")
    return await keys.by_key(credentials.strip())


def lightened(identity: Identity) -> Identity:
    """Only what it takes to ask again: an open stream keeps no user."""
    return replace(identity, user=session.ANONYMOUS.user, scope=None)


async def renewed(identity: Identity) -> Identity | None:
    """Who the same credentials belong to now. Raises what the database raises."""
    match identity.kind:
        case Kind.SESSION:
            return await session.renewed(identity)
        case Kind.KEY:
            return await keys.renewed(identity)
        case _:
            return identity
