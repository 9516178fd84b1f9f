"""Grants for users whom somebody else has authenticated."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from pytest_django import Settings as DjangoSettings

from notifications.access import agrant_for, grant_for
from notifications.access.identities.base import User
from notifications.errors import Forbidden, Invalid
from notifications.hub.grants import Grant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada")


async def renewed(grant: Grant) -> Grant | None:
    assert grant.renew is not None
    return await grant.renew()


async def test_a_grant_holds_while_its_user_is_active(ada: Any) -> None:
    grant = await agrant_for(ada, ["orders.1", "orders.2"])
    assert (grant.topics, grant.subjects) == (("orders.1", "orders.2"), (f"user:{ada.pk}",))
    assert grant.as_of is None
    again = await renewed(grant)
    assert again is not None
    assert again.still_covers(grant)
    ada.is_active = False
    await ada.asave()
    assert await renewed(again) is None


@pytest.mark.parametrize("is_async", [True, False])
async def test_it_ends_with_the_recheck_of_its_caller(ada: Any, is_async: bool) -> None:
    answers: list[Any] = [True, False]
    users: list[Any] = []

    def recheck(user: Any) -> bool:
        users.append(user)
        return bool(answers.pop(0))

    async def arecheck(user: Any) -> bool:
        return recheck(user)

    question: Callable[[Any], Any] = arecheck if is_async else recheck
    grant = await agrant_for(ada, ["orders.1"], recheck=question)
    assert users == []  # it is asked when the stream opens
    assert await renewed(grant) is not None
    assert await renewed(grant) is None
    assert users == [ada, ada]


async def test_a_recheck_without_an_answer_is_an_error_and_no_denial(ada: Any) -> None:
    def recheck(_: Any) -> bool:
        raise ConnectionError

    grant = await agrant_for(ada, ["orders.1"], recheck=recheck)
    with pytest.raises(ConnectionError):
        await renewed(grant)


async def test_it_ends_at_its_time_after_a_renewal_too(ada: Any) -> None:
    until = datetime.now(UTC) + timedelta(minutes=5)
    for value in (until, until.timestamp()):
        grant = await agrant_for(ada, ["orders.1"], until=value)
        again = await renewed(grant)
        assert again is not None
        assert grant.until == again.until == until.timestamp()


@pytest.mark.parametrize("user", [None, AnonymousUser()])
async def test_nobody_in_particular_may_have_a_grant(user: User | None) -> None:
    until = time.time() + 60
    grant = await agrant_for(user, ["orders.1"], recheck=lambda _: True, until=until)
    assert (grant.subjects, grant.until) == ((), until)
    assert await renewed(grant) is not None


async def test_the_rules_of_the_site_count_only_if_asked(
    ada: Any, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "PUBLIC_TOPICS": ["news"]}
    own = f"user.{ada.pk}"
    assert (await agrant_for(ada, ["orders.1"])).denied == ()
    grant = await agrant_for(ada, [own, "news", "orders.1"], rules=True)
    assert (grant.topics, grant.denied) == ((own, "news"), ("orders.1",))
    assert await renewed(grant) is not None
    with pytest.raises(Forbidden):
        await agrant_for(ada, ["orders.1"], rules=True)


def test_code_that_is_not_async_gets_the_same(ada: Any) -> None:
    assert grant_for(ada, ["orders.1"]).topics == ("orders.1",)
    with pytest.raises(Invalid):
        grant_for(ada, [""])
