"""Which of its credentials a request is taken by."""

from dataclasses import replace

from django.http import HttpRequest

from notifications.access.identities import api_keys, jwt, session, signed_links
from notifications.access.identities.base import Identity, Kind
from notifications.conf import get_settings
from notifications.errors import Unauthenticated

TOKEN_PARAMETER = "token"  # noqa: S105


def shows_credentials(request: HttpRequest) -> bool:
    """Whether the request says by itself who asks, and not by a cookie."""
    return bool(
        "HTTP_AUTHORIZATION" in request.META
        or signed_links.PARAMETER in request.GET
        or _query_token(request)
    )


async def identify(request: HttpRequest) -> Identity:
    """Raises `Unauthenticated` for credentials that are not good; without any, it is anonymous."""
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer":
            raise Unauthenticated("The scheme of Authorization is 'Bearer'.")
        return await _by_bearer(credentials.strip())
    if (link := request.GET.get(signed_links.PARAMETER)) is not None:
        visitor = await session.by_session(request)
        return await signed_links.by_link(link, visitor=visitor.user)
    if token := _query_token(request):
        return await _by_bearer(token)
    return await session.by_session(request)


async def _by_bearer(text: str) -> Identity:
    return await (jwt.by_token(text) if jwt.is_token(text) else api_keys.by_key(text))


def _query_token(request: HttpRequest) -> str:
    return request.GET.get(TOKEN_PARAMETER, "") if get_settings().QUERY_TOKENS else ""


def lightened(identity: Identity) -> Identity:
    """Only what it takes to ask again: an open stream keeps no user."""
    return replace(identity, user=session.ANONYMOUS.user)


async def renewed(identity: Identity) -> Identity | None:
    """Who the same credentials belong to now. Raises what the database raises."""
    match identity.kind:
        case Kind.SESSION:
            return await session.renewed(identity)
        case Kind.KEY:
            return await api_keys.renewed(identity)
        case Kind.TOKEN:
            return await jwt.renewed(identity)
        case Kind.LINK:
            return await signed_links.renewed(identity)
        case Kind.ANONYMOUS:
            return identity
