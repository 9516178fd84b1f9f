"""Authorization of requests: a grant for a request that subscribes, a check for one that publishes.

Both raise `Forbidden` or `Unauthenticated` with a detail that says what to do.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from notifications.access.decision import PUBLISH_PERMISSION, active_rules, decide, history_limits
from notifications.access.identities.authentication import (
    authenticate,
    has_explicit_credentials,
    reauthenticate,
    without_user,
)
from notifications.access.identities.base import Identity, Kind, Verb
from notifications.access.identities.session import ANONYMOUS
from notifications.access.origins import has_disallowed_origin
from notifications.conf.namespace import UnknownNamespace, is_shared, of_request, run_in
from notifications.errors import BadRequest, Forbidden, Invalid, Unauthenticated
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.log.cursors import Cursor
from notifications.telemetry.audit import Attempt, attempt
from notifications.topics import user_topic

logger = logging.getLogger("carillon")

MAX_LISTED_TOPICS = 3


# Subscribing


async def authorize_subscribe(request: HttpRequest, topics: Sequence[str]) -> Grant:
    """A grant for the topics that the request may subscribe to.

    Raises `Forbidden` if the request may subscribe to none of them.

    A request that names no topic gets the topics of its link, or else the user's own topic. The
    session is read only if the answer depends on the user.
    """
    with attempt(request, Verb.SUBSCRIBE) as attempted:
        attempted.topics = topics
        grant = await _grant_for_request(request, topics, attempted)
    attempted.topics = grant.topics
    attempted.accepted(level=logging.DEBUG, denied=grant.denied)
    return grant


async def _grant_for_request(
    request: HttpRequest, topics: Sequence[str], attempted: Attempt
) -> Grant:
    as_of = _head()
    namespace = attempted.namespace = await of_request(request)
    if (
        topics
        and not has_explicit_credentials(request)
        and all(map(active_rules().is_public, topics))
    ):
        attempted.by = ANONYMOUS.name
        return Grant(topics=tuple(topics), as_of=as_of, namespace=namespace)
    identity = await authenticate(request)
    attempted.by = identity.name
    topics = attempted.topics = topics or _default_topics(identity)
    if identity.kind is Kind.SESSION and has_disallowed_origin(request):
        raise Forbidden(
            "This page's origin may not use the session of this site's users: add it to "
            "CARILLON['CORS_ALLOWED_ORIGINS'], or give the page a signed link."
        )
    grant = await _grant_for_identity(identity, topics, as_of)
    if grant.denied:
        _log_refusal(identity, grant.denied)
    if not grant.topics:
        raise Forbidden(f"You may not subscribe to {_listed(grant.denied)}.")
    return grant


async def _grant_for_identity(
    identity: Identity, topics: Sequence[str], as_of: Cursor | None
) -> Grant:
    decision = await decide(identity, Verb.SUBSCRIBE, topics)
    since = await history_limits(identity, decision.allowed)
    return Grant(
        topics=decision.allowed,
        denied=decision.denied,
        since=since,
        subjects=identity.subjects,
        until=decision.until,
        as_of=as_of,
        renew=_GrantRenewal(without_user(identity), topics),
        namespace=identity.namespace,
    )


@dataclass(frozen=True, slots=True)
class _GrantRenewal:
    """Computes the grant of an open stream anew: `Grant.renew`.

    A slotted class and not a closure, because each open stream that has an identity keeps one.
    """

    identity: Identity
    topics: Sequence[str]

    async def __call__(self) -> Grant | None:
        try:
            return await run_in(self.identity.namespace, self._renew)
        except UnknownNamespace:  # the tenant has been deleted
            return None

    async def _renew(self) -> Grant | None:
        as_of = _head()
        identity = await reauthenticate(self.identity)
        if identity is None:
            return None
        grant = await _grant_for_identity(identity, self.topics, as_of)
        return grant if grant.topics else None


def _head() -> Cursor | None:
    running = runtime.current()
    return running.hub.head if running is not None and running.ready else None


def _default_topics(identity: Identity) -> tuple[str, ...]:
    if identity.scope is not None and identity.scope.topics:
        return identity.scope.topics
    if not identity.user.is_authenticated:
        raise BadRequest("Name at least one topic: /events/?topic=… (or log in for your own).")
    try:
        return (user_topic(identity.user),)
    except Invalid as error:
        raise BadRequest(f"Name at least one topic: you have none. {error.detail}") from None


def _log_refusal(identity: Identity, denied: Sequence[str]) -> None:
    """Shows a developer which setting to change. In production only the audit has refusals."""
    if django_settings.DEBUG:
        logger.warning(
            "subscribe.refused by=%s topics=%s: no rule allows it. Add a prefix to "
            "CARILLON['PUBLIC_TOPICS'], or a rule to CARILLON['ACCESS'].",
            identity.name,
            _listed(denied),
        )


# Publishing


async def authenticate_publisher(request: HttpRequest) -> Identity:
    """The identity that publishes.

    Raises `Unauthenticated` without credentials that can publish, and `Forbidden` where a session
    fails the CSRF check.
    """
    identity = await authenticate(request)
    if identity.kind in {Kind.ANONYMOUS, Kind.LINK}:
        raise Unauthenticated("Publish with 'Authorization: Bearer <key>', or log in.")
    if identity.kind is Kind.SESSION:
        await sync_to_async(_check_csrf)(request)
    return identity


async def authorize_publish(identity: Identity, topics: Iterable[str]) -> None:
    """Raises `Forbidden`, which names the denied topics, unless all topics are allowed."""
    topics = tuple(dict.fromkeys(topics))
    if identity.namespace and (shared := [topic for topic in topics if is_shared(topic)]):
        raise Forbidden(
            f"All tenants share {_listed(shared)}: only the site itself publishes there."
        )
    decision = await decide(identity, Verb.PUBLISH, topics)
    if decision.denied:
        raise Forbidden(
            f"You may not publish to {_listed(decision.denied)}. Without rules of the site's own, "
            f"publishing needs the permission {PUBLISH_PERMISSION!r}."
        )


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check for one request. It raises the reason instead of rendering a page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise Forbidden(f"The CSRF check failed: {reason}")


def _check_csrf(request: HttpRequest) -> None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    check.process_view(request, HttpResponse, (), {})


def _listed(topics: Sequence[str]) -> str:
    listed = ", ".join(map(repr, topics[:MAX_LISTED_TOPICS]))
    more = len(topics) - MAX_LISTED_TOPICS
    return f"{listed} and {more} more" if more > 0 else listed
