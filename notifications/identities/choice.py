"""Which of its credentials a request is taken by."""

import hashlib
import hmac
from dataclasses import replace

from django.http import HttpRequest

from notifications.conf import get_settings
from notifications.errors import Unauthenticated
from notifications.identities import session
from notifications.identities.base import Identity, Kind, Scope
from notifications.patterns import Pattern


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
    return _by_publish_key(credentials.strip())


def _by_publish_key(key: str) -> Identity:
    # Every key is compared, so that time tells nothing about which one came close.
    matches = [
        hmac.compare_digest(key.encode(), known.encode()) for known in get_settings().PUBLISH_KEYS
    ]
    if not any(matches):
        raise Unauthenticated("This publish key is not known.")
    name = f"key:{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return Identity(kind=Kind.KEY, name=name, scope=Scope(publish=(Pattern("*"),)))


def lightened(identity: Identity) -> Identity:
    """Only what it takes to ask again: an open stream keeps no user."""
    return replace(identity, user=session.ANONYMOUS.user, scope=None)


async def renewed(identity: Identity) -> Identity | None:
    """Who the same credentials belong to now. Raises what the database raises."""
    match identity.kind:
        case Kind.SESSION:
            return await session.renewed(identity)
        case _:
            return identity
