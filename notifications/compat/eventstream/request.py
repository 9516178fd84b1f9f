"""What a request asks for, and what it may have: by the channel manager, and by its own words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django_eventstream.utils import get_channelmanager, get_storage

from notifications.compat.eventstream import ids
from notifications.compat.eventstream.ids import ANONYMOUS, subject
from notifications.compat.eventstream.storage import Storage
from notifications.errors import Invalid
from notifications.hub import runtime
from notifications.hub.grants import Grant, session_subject
from notifications.log.cursors import Cursor
from notifications.topics import topics as check_topics

MAX_CHANNELS = 10


class Refused(Exception):
    """In the stream's own words, at its end."""

    condition = "bad-request"

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid request: {text}.")


class Over(Exception):
    """The client comes back after a stream that told it not to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`user` is None for anonymous. `last_ids` are as they were sent, of these channels."""

    user: Any
    session_key: str | None
    channels: tuple[str, ...]
    reliable: tuple[str, ...]
    last_ids: Mapping[str, str]
    forbidden: tuple[str, ...]
    can_change: bool
    """Whether the site says who may read a channel."""


def asked(request: HttpRequest, view_kwargs: Mapping[str, Any]) -> Asked:
    """May block: a site's channel manager may do anything. Raises `Refused` or `Over`."""
    user = getattr(request, "user", None)
    user = user if user is not None and user.is_authenticated else None
    session = getattr(request, "session", None)
    manager = get_channelmanager()
    channels = _checked(manager.get_channels_for_request(request, view_kwargs))
    last_ids = _last_ids(request)
    stored = isinstance(get_storage(), Storage)
    return Asked(
        user=user,
        session_key=session.session_key if session is not None and user is not None else None,
        channels=channels,
        reliable=tuple(each for each in channels if stored and manager.is_channel_reliable(each)),
        last_ids={each: last_ids[each] for each in channels if each in last_ids},
        forbidden=unreadable(user, channels),
        can_change=_asks(manager),
    )


def unreadable(user: Any, channels: Iterable[str]) -> tuple[str, ...]:
    """Those that the channel manager says no to. May block."""
    manager = get_channelmanager()
    return tuple(each for each in channels if not manager.can_read_channel(user, each))


def _asks(manager: Any) -> bool:
    from_package = type(manager).can_read_channel.__module__ == "django_eventstream.channelmanager"
    return not from_package


def _checked(given: Iterable[str]) -> tuple[str, ...]:
    channels = sorted(given)
    if not channels:
        raise Refused("No channels specified")
    if len(channels) > MAX_CHANNELS:
        raise Refused("Channel limit exceeded")
    try:
        return check_topics(channels)
    except Invalid as error:
        raise Refused(error.detail.rstrip(".")) from None


def _last_ids(request: HttpRequest) -> dict[str, str]:
    """By the header, or else the last parameter that is not empty."""
    parameters = reversed(request.GET.getlist("lastEventId"))
    text = next(filter(None, (request.META.get("HTTP_LAST_EVENT_ID"), *parameters)), "")
    if text == "error":
        raise Over
    try:
        return ids.parse(text) if text else {}
    except ValueError:
        raise Refused("Failed to parse Last-Event-ID or lastEventId") from None


# What a request of django-eventstream's may hear, as a grant that can be asked for again.


def granted(asked: Asked, as_of: Cursor) -> Grant:
    """All of it. Who may hear less may hear nothing."""
    pk = ANONYMOUS if asked.user is None else asked.user.pk
    session = (session_subject(asked.session_key),) if asked.session_key else ()
    renew = _Renewal(None if asked.user is None else pk, asked.channels)
    return Grant(
        topics=asked.channels,
        subjects=(subject(pk), *session),
        as_of=as_of,
        renew=renew if asked.can_change else None,
    )


@dataclass(frozen=True, slots=True)
class _Renewal:
    pk: Any
    channels: tuple[str, ...]

    async def __call__(self) -> Grant:
        here = runtime.here()
        as_of = here.hub.head if here is not None and here.ready else None
        return await sync_to_async(self._ask)(as_of)

    def _ask(self, as_of: Cursor | None) -> Grant:
        user = None
        if self.pk is not None:
            # Who is not there any more hears what everybody does.
            user = get_user_model()._default_manager.filter(pk=self.pk).first()  # noqa: SLF001
        lost = unreadable(user, self.channels)
        topics = tuple(each for each in self.channels if each not in lost)
        return Grant(topics=topics, as_of=as_of, renew=self)
