"""What a request may hear, as a grant."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from notifications.access.decision import PUBLISH_PERMISSION, decide, history_limits, rules_in_force
from notifications.access.identities.authentication import (
    identify,
    lightened,
    renewed,
    shows_credentials,
)
from notifications.access.identities.base import Identity, Kind, Verb
from notifications.access.identities.session import ANONYMOUS
from notifications.access.origins import is_foreign
from notifications.errors import BadRequest, Forbidden, Unauthenticated
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.log.cursors import Cursor
from notifications.telemetry.audit import Attempt, attempt
from notifications.topics import user_topic

logger = logging.getLogger("carillon")


async def grant_for(request: HttpRequest, asked: Sequence[str]) -> Grant:
    """The grant for those of the topics that this request may hear. Raises `Forbidden` without any.

    Who names no topic hears those of their link, or the one of their own. The session is read only
    if it matters.
    """
    with attempt(request, Verb.SUBSCRIBE) as attempted:
        attempted.topics = asked
        grant = await _grant_for(request, asked, attempted)
    attempted.topics = grant.topics
    attempted.accepted(level=logging.DEBUG, denied=grant.denied)
    return grant


async def _grant_for(request: HttpRequest, asked: Sequence[str], attempted: Attempt) -> Grant:
    as_of = _head()
    if asked and not shows_credentials(request) and all(map(rules_in_force().is_public, asked)):
        attempted.by = ANONYMOUS.name
        return Grant(topics=tuple(asked), as_of=as_of)
    identity = await identify(request)
    attempted.by = identity.name
    topics = attempted.topics = asked or _topics_of(identity)
    if identity.kind is Kind.SESSION and is_foreign(request):
        raise Forbidden(
            "This page's origin may not use the session of this site's users: add it to "
            "CARILLON['CORS_ALLOWED_ORIGINS'], or give the page a signed link."
        )
    grant = await _grant(identity, topics, as_of)
    if grant.denied:
        _explain(identity, grant.denied)
    if not grant.topics:
        raise Forbidden(f"You may not subscribe to {_listed(grant.denied)}.")
    return grant


async def _grant(identity: Identity, topics: Sequence[str], as_of: Cursor | None) -> Grant:
    decision = await decide(identity, Verb.SUBSCRIBE, topics)
    since = await history_limits(identity, decision.allowed)
    return Grant(
        topics=decision.allowed,
        denied=decision.denied,
        since=since,
        subjects=identity.subjects,
        until=decision.until,
        as_of=as_of,
        renew=_Renewal(lightened(identity), topics),
    )


@dataclass(frozen=True, slots=True)
class _Renewal:
    """Not a closure: every open stream that had to be allowed keeps one."""

    identity: Identity
    topics: Sequence[str]

    async def __call__(self) -> Grant | None:
        as_of = _head()
        identity = await renewed(self.identity)
        if identity is None:
            return None
        grant = await _grant(identity, self.topics, as_of)
        return grant if grant.topics else None


def _head() -> Cursor | None:
    here = runtime.here()
    return here.hub.head if here is not None and here.ready else None


def _topics_of(identity: Identity) -> tuple[str, ...]:
    if identity.scope is not None and identity.scope.topics:
        return identity.scope.topics
    if not identity.user.is_authenticated:
        raise BadRequest("Name at least one topic: /events/?topic=… (or log in for your own).")
    return (user_topic(identity.user),)


def _listed(topics: Sequence[str]) -> str:
    shown = ", ".join(map(repr, topics[:3]))
    return shown if len(topics) <= 3 else f"{shown} and {len(topics) - 3} more"


def _explain(identity: Identity, denied: Sequence[str]) -> None:
    if django_settings.DEBUG:
        logger.warning(
            "subscribe.refused by=%s topics=%s: no rule allows it. Add a prefix to "
            "CARILLON['PUBLIC_TOPICS'], or a rule to CARILLON['ACCESS'].",
            identity.name,
            _listed(denied),
        )


# Who publishes, and where they may.


async def publisher(request: HttpRequest) -> Identity:
    """Whoever publishes. Raises `Unauthenticated`, or `Forbidden` where the CSRF check fails."""
    identity = await identify(request)
    if identity.kind in {Kind.ANONYMOUS, Kind.LINK}:
        raise Unauthenticated("Publish with 'Authorization: Bearer <key>', or log in.")
    if identity.kind is Kind.SESSION:
        await sync_to_async(_check_csrf)(request)
    return identity


async def check_publishing(identity: Identity, topics: Iterable[str]) -> None:
    """Raises `Forbidden`, naming the topics, unless all of them are allowed."""
    decision = await decide(identity, Verb.PUBLISH, tuple(dict.fromkeys(topics)))
    if decision.denied:
        named = ", ".join(map(repr, decision.denied[:3]))
        more = f" and {len(decision.denied) - 3} more" if len(decision.denied) > 3 else ""
        raise Forbidden(
            f"You may not publish to {named}{more}. Without rules of the site's own, publishing "
            f"needs the permission {PUBLISH_PERMISSION!r}."
        )


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, for one request, answering with the reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise Forbidden(f"The CSRF check failed: {reason}")


def _check_csrf(request: HttpRequest) -> None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    check.process_view(request, HttpResponse, (), {})
