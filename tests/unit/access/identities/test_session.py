"""Sessions read again: what still holds, what has ended, and what is being changed just now."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from notifications.access.identities import logins, session
from notifications.access.identities.base import Identity, Kind
from notifications.access.identities.logins import LoginChanges
from notifications.hub.grants import Unsettled
from notifications.log.entries import ControlAction, ControlEntry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> LoginChanges:
    own = LoginChanges()
    monkeypatch.setattr(session, "changes", own)
    return own


async def logged_in() -> tuple[User, Any, Identity]:
    """A user, their session, and the identity of a stream that was opened with it."""
    user = await User.objects.acreate(username="ada")
    client = AsyncClient()
    await client.aforce_login(user)
    store = await client.asession()
    await store.aget("_auth_user_id")
    login = logins.subject_of(store, store.session_key)
    assert login is not None
    identity = Identity(
        kind=Kind.SESSION,
        name=f"user:{user.pk}",
        subjects=(f"user:{user.pk}", login),
        credentials=f"session:0.0:{store.session_key}",
    )
    return user, store, identity


async def limit_of(identity: Identity) -> float:
    with pytest.raises(Unsettled) as raised:
        await session.reauthenticate(identity)
    return raised.value.limit_seconds


async def test_a_session_that_is_as_it_was_holds(changes: LoginChanges) -> None:
    _, _, identity = await logged_in()
    current = await session.reauthenticate(identity)
    assert current is not None
    assert current.subjects == identity.subjects


async def test_a_session_that_is_gone_is_looked_at_twice_before_it_has_ended(
    changes: LoginChanges,
) -> None:
    _, store, identity = await logged_in()
    await store.adelete()
    assert await limit_of(identity) == session.SECOND_LOOK_SECONDS


async def test_a_session_that_moves_has_longer_and_is_then_read_under_its_other_key(
    changes: LoginChanges,
) -> None:
    _, store, identity = await logged_in()
    login = identity.subjects[1]
    await store.acycle_key()
    changes.observe(ControlEntry(ControlAction.RECHECK, (login,), logins.MOVING))
    assert await limit_of(identity) == logins.MOVING_SECONDS
    await store.asave()
    moved = logins.moved_reason(store.session_key)
    changes.observe(ControlEntry(ControlAction.RECHECK, (login,), moved))
    current = await session.reauthenticate(identity)
    assert current is not None
    assert str(current.credentials).endswith(store.session_key)


async def test_a_recheck_neither_ends_a_session_nor_gives_it_another_key(
    changes: LoginChanges,
) -> None:
    """Django's own `get_user` does both, where the hash of the password is another one."""
    user, store, identity = await logged_in()
    user.set_password("another")
    await user.asave()
    assert await limit_of(identity) == session.SECOND_LOOK_SECONDS
    assert await type(store)().aexists(store.session_key)


async def test_a_user_who_was_deactivated_has_ended_at_once(changes: LoginChanges) -> None:
    user, _, identity = await logged_in()
    user.is_active = False
    await user.asave()
    assert await session.reauthenticate(identity) is None


async def test_an_ended_login_has_ended_whatever_its_session_still_holds(
    changes: LoginChanges,
) -> None:
    _, _, identity = await logged_in()
    changes.observe(ControlEntry(ControlAction.END, (identity.subjects[1],), "signed_out"))
    assert await session.reauthenticate(identity) is None
