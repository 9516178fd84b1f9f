"""Whose a stream is, for what is counted and ended by user."""

from django.contrib.auth.models import User

from notifications.compat.eventstream.request import Asked, granted
from notifications.conf import Settings
from notifications.hub.quotas import Quotas
from notifications.log.cursors import START, Cursor


def names(user: User | None) -> tuple[str, ...]:
    asked = Asked(user, None, ("a",), ("a",), {}, (), can_change=False)
    grant = granted(asked, Cursor("epoch", START))
    return Quotas(Settings(LOG="memory", MAX_STREAMS_PER_USER=1)).names(None, grant)


async def test_all_who_did_not_log_in_are_not_one_user_with_its_quota() -> None:
    assert names(None) == ()
    assert names(User(pk=5)) == ("user:5",)
