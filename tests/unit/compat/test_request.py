"""The subject of a stream, by which it is counted for a quota and ended."""

from django.contrib.auth.models import User
from django.db import router
from django.http import HttpRequest
from django.test import RequestFactory
from django_eventstream.channelmanager import DefaultChannelManager
from pytest_django import Settings as DjangoSettings

from notifications.compat.eventstream.request import StreamRequest, make_grant, parse_request
from notifications.compat.eventstream.translation import subjects
from notifications.conf import Settings
from notifications.hub.quotas import Quotas
from notifications.hub.recheck import HeldGrant, RecheckPolicy
from notifications.log.cursors import START, Cursor


def quota_names(user: User | None) -> tuple[str, ...]:
    request = StreamRequest(user, None, ("a",), ("a",), {}, (), can_change=False)
    grant = make_grant(request, Cursor("epoch", START))
    return Quotas(Settings(LOG="memory", MAX_STREAMS_PER_USER=1)).names(None, grant)


class ManagerOfReads(DefaultChannelManager):  # type: ignore[misc]  # it has no types
    """A channel manager that asks a database whether a user may read."""

    def get_channels_for_request(self, request: HttpRequest, view_kwargs: object) -> set[str]:
        return {f"read-from-{router.db_for_read(User)}"}

    def can_read_channel(self, user: User | None, channel: str) -> bool:
        return router.db_for_read(User) == "default"


async def test_the_channel_manager_reads_where_writes_go(settings: DjangoSettings) -> None:
    settings.DATABASE_ROUTERS = ["tests.harness.routers.AllReads"]
    settings.EVENTSTREAM_CHANNELMANAGER_CLASS = f"{__name__}.ManagerOfReads"
    parsed = parse_request(RequestFactory().get("/"), {})
    assert parsed.channels == ("read-from-default",)
    assert not parsed.forbidden
    grant = make_grant(parsed, Cursor("epoch", START))
    policy = RecheckPolicy(max_age=600, clock=lambda: 0.0)
    assert isinstance(await policy.recheck(HeldGrant(grant, confirmed=0.0)), float)


async def test_anonymous_visitors_are_not_one_user_with_a_quota() -> None:
    assert quota_names(None) == ()
    assert quota_names(User(pk=5)) == ("user:5",)
    assert quota_names(User(pk="anonymous")) == ("user:anonymous",)


def test_the_name_of_anonymous_visitors_is_also_a_user_of_that_key() -> None:
    """A kick of django-eventstream does not tell which of them it means."""
    assert subjects("anonymous") == ("anonymous", "user:anonymous")
    assert subjects(5) == ("user:5",)
