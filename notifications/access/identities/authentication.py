"""Authentication: which credentials of a request count, and whether they are still good later."""

from dataclasses import replace

from django.http import HttpRequest

from notifications.access.identities import api_keys, jwt, session, signed_links
from notifications.access.identities.base import Identity, Kind
from notifications.access.identities.headers import (
    KINDS_UNDERSTOOD,
    bearer_texts,
    has_foreign_credentials,
    own_credentials,
)
from notifications.access.identities.primary_session import authenticate_session
from notifications.conf import get_settings
from notifications.conf.namespace import Namespace, of_request
from notifications.errors import Unauthenticated
from notifications.hub.primary import reads_from_primary

TOKEN_PARAMETER = "token"  # noqa: S105


def has_explicit_credentials(request: HttpRequest) -> bool:
    """Whether the request has credentials of ours besides cookies, which browsers add themselves.

    Raises `Unauthenticated` as `own_credentials` does.
    """
    return bool(
        own_credentials(request) or signed_links.PARAMETER in request.GET or _query_token(request)
    )


async def authenticate(request: HttpRequest) -> Identity:
    """The identity of a request, by the first of: header, link, token in the URL, session.

    Without any credentials of ours the identity is anonymous: a header of somebody else is passed
    over. Raises `Unauthenticated` for credentials that are ours and not valid. A database is read
    where its writes go.
    """
    namespace = await of_request(request)
    with reads_from_primary():
        return _of_namespace(namespace, await _authenticate(request, namespace))


def _of_namespace(namespace: Namespace, identity: Identity) -> Identity:
    return replace(identity, namespace=namespace) if namespace else identity


async def _authenticate(request: HttpRequest, namespace: Namespace) -> Identity:
    if text := own_credentials(request):
        return await _authenticate_bearer(text, namespace)
    if (link := request.GET.get(signed_links.PARAMETER)) is not None:
        visitor = await authenticate_session(request)
        return await signed_links.authenticate_link(link, visitor=visitor.user, namespace=namespace)
    if token := _query_token(request):
        return await _authenticate_bearer(token, namespace)
    return await authenticate_session(request)


async def _authenticate_bearer(text: str, namespace: Namespace) -> Identity:
    if jwt.is_token(text):
        return await jwt.authenticate_token(text, namespace=namespace)
    return await api_keys.authenticate_key(text, namespace=namespace)


async def refusal_of(request: HttpRequest, detail: str) -> Unauthenticated:
    """The refusal of a request that has no credentials of ours. It explains what would do."""
    reasons = [detail]
    if has_foreign_credentials(request):
        reasons.append("The credentials in its headers are none of ours, and were passed over.")
        if len(texts := bearer_texts(request)) == 1:
            try:
                await _authenticate_bearer(texts[0], await of_request(request))
            except Unauthenticated as error:
                reasons.append(error.detail)
    return Unauthenticated(" ".join([*reasons, KINDS_UNDERSTOOD]))


def _query_token(request: HttpRequest) -> str:
    return request.GET.get(TOKEN_PARAMETER, "") if get_settings().QUERY_TOKENS else ""


def without_user(identity: Identity) -> Identity:
    """The identity as an open stream keeps it: enough to reauthenticate, without a user object."""
    return replace(identity, user=session.ANONYMOUS.user)


async def reauthenticate(identity: Identity) -> Identity | None:
    """The same identity as it is now, or None if its credentials have ended.

    Called in the surroundings of its namespace. Raises `Unavailable` or a database error where that
    cannot be found out.
    """
    current = await _reauthenticate(identity)
    return current and _of_namespace(identity.namespace, current)


async def _reauthenticate(identity: Identity) -> Identity | None:
    match identity.kind:
        case Kind.SESSION:
            return await session.reauthenticate(identity)
        case Kind.KEY:
            return await api_keys.reauthenticate(identity)
        case Kind.TOKEN:
            return await jwt.reauthenticate(identity)
        case Kind.LINK:
            return await signed_links.reauthenticate(identity)
        case Kind.ANONYMOUS:
            return identity
