"""The session of a request, as the primary database has it.

This is a module of its own, because django-eventstream's view needs it on sites that have not
installed our models, which API keys need.
"""

import asyncio

from django.http import HttpRequest

from notifications.access.identities import session
from notifications.access.identities.base import Identity, Kind
from notifications.hub import runtime
from notifications.hub.grants import Unsettled
from notifications.hub.primary import (
    is_from_replica,
    reads_from_primary,
    recent_subjects,
    routes_reads,
)
from notifications.hub.recheck import UNSETTLED_SECONDS


async def authenticate_session(request: HttpRequest) -> Identity:
    """The identity of the session, as the primary database has it.

    A middleware may have read the session or the user before, from a replica. If a control entry
    has named them lately, both are read again.
    """
    if not routes_reads():
        return await session.authenticate_session(request)
    with reads_from_primary():
        was_read = getattr(getattr(request, "session", None), "accessed", False)
        identity = await session.authenticate_session(request)
        if identity.kind is Kind.SESSION and (was_read or is_from_replica(identity.user)):
            # Without a runtime no control entry reaches this process.
            unknown = runtime.current() is None
            if unknown or recent_subjects.has_any(identity.subjects):
                return await _read_again(identity)
        return identity


async def _read_again(identity: Identity) -> Identity:
    """The same identity as it is now; anonymous if it has ended."""
    clock = asyncio.get_running_loop().time
    began = clock()
    while True:
        try:
            return await session.reauthenticate(identity) or session.ANONYMOUS
        except Unsettled as change:
            if clock() - began >= change.limit_seconds:
                return session.ANONYMOUS
        await asyncio.sleep(UNSETTLED_SECONDS)
