"""The subject of a stream, by which it is counted for a quota and ended."""

from django.contrib.auth.models import User

from notifications.compat.eventstream.request import StreamRequest, make_grant
from notifications.conf import Settings
from notifications.hub.quotas import Quotas
from notifications.log.cursors import START, Cursor


def quota_names(user: User | None) -> tuple[str, ...]:
    request = StreamRequest(user, None, ("a",), ("a",), {}, (), can_change=False)
    grant = make_grant(request, Cursor("epoch", START))
    return Quotas(Settings(LOG="memory", MAX_STREAMS_PER_USER=1)).names(None, grant)


async def test_anonymous_visitors_are_not_one_user_with_a_quota() -> None:
    assert quota_names(None) == ()
    assert quota_names(User(pk=5)) == ("user:5",)
