"""Grants for users whom somebody else has authenticated: a view of the site, or its framework."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth import get_user_model
from django.db import close_old_connections
from django.http import HttpRequest

from notifications.access.decision import decide
from notifications.access.identities import session
from notifications.access.identities.base import Identity, Kind, User, Verb
from notifications.access.identities.primary_session import authenticate_session
from notifications.access.renewal import Renewal
from notifications.conf.namespace import current
from notifications.errors import Forbidden
from notifications.hub.grants import Grant, user_subject
from notifications.log.cursors import Cursor
from notifications.topics import parse_topics

type Recheck = Callable[[Any], Any]
"""Whether the credentials of a user still hold; it may be `async`."""


async def agrant_for(
    user: User | None,
    topics: Iterable[str],
    *,
    until: datetime | float | None = None,
    recheck: Recheck | None = None,
    rules: bool = False,
    request: HttpRequest | None = None,
) -> Grant:
    """A grant for topics that the caller allows to this user; None: to nobody in particular.

    It ends when the user is deactivated or deleted; at the time `until` (aware, or seconds since
    1970); and when `recheck`, which gets the user, returns nothing true. `recheck` is called
    whenever the user changes, and at the latest every `GRANT_MAX_AGE`: with a token, it asks
    whether that token still exists. It must not hold the request. With the `request`, the grant
    ends with its session too, if that is the user's. With `rules`, those of `CARILLON["ACCESS"]`
    have to allow the topics as well.

    Raises `Invalid` for an invalid topic, and `Forbidden` if the rules allow none.
    """
    identity = await _identity_of(user, request)
    if until is not None:
        seconds = until.timestamp() if isinstance(until, datetime) else until
        identity = replace(identity, until=min(seconds, identity.until or seconds))
    if namespace := current():
        identity = replace(identity, namespace=namespace)
    renewal = _UserGrantRenewal(identity, parse_topics(topics), recheck, rules)
    # Not as of now: somebody else has read the credentials before, so a stream is rechecked when it
    # opens, in case they have ended since.
    grant = await renewal.grant(identity, None)
    if not grant.topics:
        raise Forbidden(f"You may not subscribe to {', '.join(map(repr, grant.denied))}.")
    return grant


def grant_for(user: User | None, topics: Iterable[str], **options: Any) -> Grant:
    """As `agrant_for`, for code that is not async."""
    return async_to_sync(agrant_for)(user, topics, **options)


async def _identity_of(user: User | None, request: HttpRequest | None) -> Identity:
    # A user without a row, such as that of a token alone, cannot be read again.
    if user is None or not isinstance(user, get_user_model()):
        return session.ANONYMOUS
    if request is not None:
        identity = await authenticate_session(request)
        if identity.kind is Kind.SESSION and identity.user.pk == user.pk:
            return identity
    name = user_subject(user.pk)
    credentials = f"user:{user.pk}"
    return Identity(
        kind=Kind.SESSION, name=name, subjects=(name,), user=user, credentials=credentials
    )


@dataclass(frozen=True, slots=True)
class _UserGrantRenewal(Renewal):
    topics: tuple[str, ...]
    recheck: Recheck | None
    rules: bool

    async def grant(self, identity: Identity, as_of: Cursor | None) -> Grant:
        allowed, denied, until = self.topics, tuple[str, ...](), identity.until
        if self.rules:
            decision = await decide(identity, Verb.SUBSCRIBE, self.topics)
            allowed, denied, until = decision.allowed, decision.denied, decision.until
        return Grant(
            topics=allowed,
            denied=denied,
            subjects=identity.subjects,
            until=until,
            as_of=as_of,
            renew=replace(self, identity=replace(identity, user=session.ANONYMOUS.user)),
            namespace=identity.namespace,
        )

    async def _renew(self, as_of: Cursor | None) -> Grant | None:
        identity: Identity | None = self.identity
        if self.identity.kind is Kind.SESSION:
            identity = await session.reauthenticate(self.identity)
        if identity is None:
            return None
        identity = replace(identity, until=self.identity.until, namespace=self.identity.namespace)
        if self.recheck is not None and not await _called(self.recheck, identity.user):
            return None
        return await self.grant(identity, as_of)


async def _called(recheck: Recheck, user: User) -> Any:
    if iscoroutinefunction(recheck):
        return await recheck(user)
    return await sync_to_async(_call_in_thread)(recheck, user)


def _call_in_thread(recheck: Recheck, user: User) -> Any:
    close_old_connections()
    try:
        return recheck(user)
    finally:
        close_old_connections()
