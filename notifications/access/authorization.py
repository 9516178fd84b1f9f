"""Authorization of requests: a grant for a request that subscribes, a check for one that publishes.

Both raise `Forbidden` or `Unauthenticated` with a detail that says what to do.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from notifications.access.continuation import continued, ended_stream, name_of
from notifications.access.decision import PUBLISH_PERMISSION, active_rules, decide, history_limits
from notifications.access.identities.authentication import (
    authenticate,
    has_explicit_credentials,
    reauthenticate,
    refusal_of,
    without_user,
)
from notifications.access.identities.base import Identity, Kind, Verb
from notifications.access.identities.headers import has_foreign_credentials
from notifications.access.identities.logins import changes, store_class, subject_of
from notifications.access.identities.page_user import is_for_page_user
from notifications.access.identities.session import ANONYMOUS, login_of, session_key_of
from notifications.access.identities.session_life import auth_digest
from notifications.access.origins import has_disallowed_origin
from notifications.access.renewal import Renewal, head
from notifications.asgi.session_user import is_unread_session_user
from notifications.conf import get_settings
from notifications.conf.namespace import is_shared, of_request
from notifications.errors import BadRequest, Forbidden, Invalid, UserChanged
from notifications.hub import runtime
from notifications.hub.grants import Continuable, Grant
from notifications.log.cursors import Cursor
from notifications.log.ended import EndedStream
from notifications.publishing.control import has_pending
from notifications.telemetry.audit import Attempt
from notifications.telemetry.counters import process_counters
from notifications.telemetry.logs import logger
from notifications.topics import user_topic

MAX_LISTED_TOPICS = 3


# Subscribing


async def authorize_subscribe(request: HttpRequest, topics: Sequence[str]) -> Grant:
    """A grant for the topics that the request may subscribe to.

    Raises `Forbidden` if the request may subscribe to none of them.

    A request that names no topic gets the topics of its link, or else the user's own topic. The
    session is read only if the answer depends on the user.
    """
    with Attempt(request, Verb.SUBSCRIBE) as attempted:
        attempted.topics = topics
        grant = await _grant_for_request(request, topics, attempted)
    attempted.topics = grant.topics
    attempted.accepted(level=logging.DEBUG, denied=grant.denied)
    return grant


async def _grant_for_request(
    request: HttpRequest, topics: Sequence[str], attempted: Attempt
) -> Grant:
    as_of = head()
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
    if not is_for_page_user(request, identity):
        raise UserChanged("The page was made for another user: reload it.")
    is_refused = identity.kind is Kind.ANONYMOUS and has_foreign_credentials(request)
    if not topics and is_refused:
        raise await refusal_of(request, "The request names no topic, and no user.")
    named, topics = bool(topics), topics or _default_topics(identity)
    attempted.topics = topics
    if identity.kind is Kind.SESSION and has_disallowed_origin(request):
        raise Forbidden(
            "This page's origin may not use the session of this site's users: add it to "
            "CARILLON['CORS_ALLOWED_ORIGINS'], or give the page a signed link."
        )
    grant = await _grant_for_identity(identity, topics, as_of, named=named)
    if grant.denied:
        _log_refusal(identity, grant.denied)
    if not grant.topics and is_refused:
        raise await refusal_of(request, f"Not everybody may subscribe to {_listed(grant.denied)}.")
    if not grant.topics:
        raise Forbidden(f"You may not subscribe to {_listed(grant.denied)}.")
    return grant


async def continue_stream(request: HttpRequest, topics: Sequence[str]) -> Grant | None:
    """The grant of a stream of this session and these topics that was interrupted a moment ago.

    None if there is none, or if it must be asked for anew: then `authorize_subscribe` decides.
    Nothing here asks the database.
    """
    session_key: str | None = getattr(getattr(request, "session", None), "session_key", None)
    if not session_key:
        return None
    with Attempt(request, Verb.SUBSCRIBE) as attempted:
        attempted.topics = topics
        running = runtime.current()
        if running is None or not _may_continue(request, topics):
            return None
        namespace = attempted.namespace = await of_request(request)
        found = await running.ended.find(name_of(session_key, namespace, topics))
        held = continued(found, session_key, namespace) if found else None
    is_same = held is not None and _is_session_of(request, held[0])
    if held is None or not is_same or not is_for_page_user(request, held[0]):
        process_counters.asked += 1
        return None
    process_counters.continued += 1
    identity, grant = held
    attempted.by, attempted.topics = identity.name, grant.topics
    attempted.accepted(level=logging.DEBUG, continued=True)
    return replace(grant, renew=_GrantRenewal(identity, grant.topics, bool(topics)))


def _may_continue(request: HttpRequest, topics: Sequence[str]) -> bool:
    """Whether only its session decides about the request, and this process knows of nothing that
    other processes do not know yet."""
    return bool(
        get_settings().CONTINUE_AGE
        and type(request.session) is store_class()
        and is_unread_session_user(request)
        and not has_explicit_credentials(request)
        and not (topics and all(map(active_rules().is_public, topics)))
        and not has_disallowed_origin(request)
        and not has_pending()
    )


def _is_session_of(request: HttpRequest, identity: Identity) -> bool:
    """Whether the session, as far as it is known without a query, is that of the identity."""
    login = login_of(identity)
    if changes.has_ended(login):
        return False
    session = request.session
    if not session.accessed:
        return True
    return (
        subject_of(session, session.session_key) == login
        and identity.life is not None
        and auth_digest(session) == identity.life.auth
    )


async def _grant_for_identity(
    identity: Identity, topics: Sequence[str], as_of: Cursor | None, *, named: bool = True
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
        renew=_GrantRenewal(without_user(identity), topics, named),
        namespace=identity.namespace,
    )


@dataclass(frozen=True, slots=True)
class _GrantRenewal(Renewal, Continuable):
    """`named`: whether the request named the topics."""

    topics: Sequence[str]
    named: bool = True

    def name(self) -> str | None:
        identity = self.identity
        if identity.life is None:
            return None
        topics = self.topics if self.named else ()
        return name_of(session_key_of(identity), identity.namespace, topics)

    def ended(self, name: str, grant: Grant, *, age: float) -> EndedStream | None:
        return ended_stream(name, self.identity, grant, age=age)

    async def _renew(self, as_of: Cursor | None) -> Grant | None:
        identity = await reauthenticate(self.identity)
        if identity is None:
            return None
        return await _grant_for_identity(identity, self.topics, as_of, named=self.named)


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
            "subscribe.refused",
            by=identity.name,
            topics=denied,
            hint="no rule allows it. Add a prefix to CARILLON['PUBLIC_TOPICS'], or a rule to "
            "CARILLON['ACCESS'].",
        )


# Publishing


async def authenticate_publisher(request: HttpRequest) -> Identity:
    """The identity that publishes.

    Raises `Unauthenticated` without credentials that can publish, and `Forbidden` where a session
    fails the CSRF check.
    """
    identity = await authenticate(request)
    if identity.kind in {Kind.ANONYMOUS, Kind.LINK}:
        raise await refusal_of(request, "Publish with 'Authorization: Bearer <key>', or log in.")
    if identity.kind is Kind.SESSION:
        await sync_to_async(_check_csrf)(request)
    return identity


async def authenticate_person(request: HttpRequest) -> Identity:
    """The identity of a user, for what is theirs alone, such as an inbox.

    Raises `Unauthenticated` without a user, and `Forbidden` for credentials that may not read the
    user's own topic, and where a session that changes something fails the CSRF check.
    """
    identity = await authenticate(request)
    if identity.kind is Kind.LINK or not identity.user.is_authenticated:
        raise await refusal_of(request, "An inbox is one person's: log in.")
    topic = user_topic(identity.user)
    if identity.scope is not None and not identity.scope.allows(Verb.SUBSCRIBE, topic):
        raise Forbidden(f"These credentials may not subscribe to {topic!r}.")
    if identity.kind is Kind.SESSION:
        await sync_to_async(_check_csrf)(request)  # which passes over GET and HEAD
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
