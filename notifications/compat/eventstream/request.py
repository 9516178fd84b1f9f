"""A request for a stream of django-eventstream: its channels, and the grant to read them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django_eventstream.utils import get_channelmanager, get_storage

from notifications.access.identities.logins import subject_of
from notifications.compat.eventstream.storage import Storage
from notifications.compat.eventstream.translation import ANONYMOUS, parse_id
from notifications.conf.namespace import Namespace, UnknownNamespace, run_in
from notifications.errors import Invalid
from notifications.hub import runtime
from notifications.hub.grants import Grant, user_subject
from notifications.hub.primary import reads_from_primary
from notifications.log.cursors import Cursor
from notifications.topics import parse_topics

MAX_CHANNELS = 10


class InvalidRequest(Exception):
    """Reported inside the stream, by a `stream-error` event."""

    condition = "bad-request"

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid request: {text}.")


class ResumedAfterError(Exception):
    """The client reconnects after a `stream-error`, after which it must not."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a request asks for, by its URL, its query or the site's channel manager.

    `user` is None for an anonymous visitor. `last_ids` are the numbers as the client sent them.
    """

    user: Any
    login: str | None
    """The subject of the login of the request's session."""
    channels: tuple[str, ...]
    reliable: tuple[str, ...]
    last_ids: Mapping[str, str]
    forbidden: tuple[str, ...]
    can_change: bool
    """Whether the permission to read may end: the site has its own `can_read_channel`."""


def parse_request(request: HttpRequest, view_kwargs: Mapping[str, Any]) -> StreamRequest:
    """Raises `InvalidRequest` or `ResumedAfterError`.

    May block, because a site's channel manager may do anything.
    """
    with reads_from_primary():
        return _parse_request(request, view_kwargs)


def _parse_request(request: HttpRequest, view_kwargs: Mapping[str, Any]) -> StreamRequest:
    user = getattr(request, "user", None)
    user = user if user is not None and user.is_authenticated else None
    session = getattr(request, "session", None)
    manager = get_channelmanager()
    channels = _check_channels(manager.get_channels_for_request(request, view_kwargs))
    last_ids = _last_ids(request)
    stored = isinstance(get_storage(), Storage)
    return StreamRequest(
        user=user,
        login=None if session is None else subject_of(session, session.session_key),
        channels=channels,
        reliable=tuple(
            channel for channel in channels if stored and manager.is_channel_reliable(channel)
        ),
        last_ids={channel: last_ids[channel] for channel in channels if channel in last_ids},
        forbidden=forbidden_channels(user, channels),
        can_change=_has_own_permissions(manager),
    )


def forbidden_channels(user: Any, channels: Iterable[str]) -> tuple[str, ...]:
    """The channels that the channel manager does not let the user read. May block."""
    manager = get_channelmanager()
    return tuple(channel for channel in channels if not manager.can_read_channel(user, channel))


def _has_own_permissions(manager: Any) -> bool:
    from_package = type(manager).can_read_channel.__module__ == "django_eventstream.channelmanager"
    return not from_package


def _check_channels(names: Iterable[str]) -> tuple[str, ...]:
    channels = sorted(names)
    if not channels:
        raise InvalidRequest("No channels specified")
    if len(channels) > MAX_CHANNELS:
        raise InvalidRequest("Channel limit exceeded")
    try:
        return parse_topics(channels)
    except Invalid as error:
        raise InvalidRequest(error.detail.rstrip(".")) from None


def _last_ids(request: HttpRequest) -> dict[str, str]:
    """From the header, or else from the last `lastEventId` parameter that is not empty."""
    parameters = reversed(request.GET.getlist("lastEventId"))
    text = next(filter(None, (request.META.get("HTTP_LAST_EVENT_ID"), *parameters)), "")
    if text == "error":
        raise ResumedAfterError
    try:
        return parse_id(text) if text else {}
    except ValueError:
        raise InvalidRequest("Failed to parse Last-Event-ID or lastEventId") from None


def make_grant(request: StreamRequest, as_of: Cursor, *, namespace: Namespace = "") -> Grant:
    """The grant for all channels: a request with a forbidden channel gets none."""
    user = ANONYMOUS if request.user is None else user_subject(request.user.pk)
    login = () if request.login is None else (request.login,)
    pk = None if request.user is None else request.user.pk
    recheck = _Recheck(pk, request.channels, namespace)
    return Grant(
        topics=request.channels,
        subjects=(user, *login),
        as_of=as_of,
        renew=recheck if request.can_change else None,
        namespace=namespace,
    )


@dataclass(frozen=True, slots=True)
class _Recheck:
    """Asks the channel manager again for the channels of one stream."""

    pk: Any
    channels: tuple[str, ...]
    namespace: Namespace = ""

    async def __call__(self) -> Grant | None:
        running = runtime.current()
        as_of = running.hub.head if running is not None and running.ready else None
        try:
            return await run_in(self.namespace, partial(sync_to_async(self._grant), as_of))
        except UnknownNamespace:
            return None

    def _grant(self, as_of: Cursor | None) -> Grant:
        user = None
        if self.pk is not None:
            # A user who was deleted may read what an anonymous visitor may read.
            user = get_user_model()._default_manager.filter(pk=self.pk).first()  # noqa: SLF001
        forbidden = forbidden_channels(user, self.channels)
        topics = tuple(channel for channel in self.channels if channel not in forbidden)
        return Grant(topics=topics, as_of=as_of, renew=self, namespace=self.namespace)
