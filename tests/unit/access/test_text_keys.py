"""Primary keys and fields that are text: whatever is in them, a topic belongs to one of them."""

import asyncio
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, RequestFactory
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications import Invalid, kick, recheck, topic_segment, user_topic
from notifications.access import Rules, linked, object_permission, own
from notifications.access.identities.session import authenticate_session, reauthenticate
from notifications.access.identities.signed_links import events_url
from notifications.hub import runtime
from notifications.hub.grants import user_subject
from notifications.log.entries import ControlEntry
from notifications.publishing import control
from notifications.topics import parse_segment
from tests.harness.text_keys.models import Order, Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log", "text_users")]

DEADLINE_SECONDS = 60.0
RULES = Rules(
    subscribe=[
        own("user.{id}"),
        own("team.{team}"),
        object_permission("text_keys.view_order", "orders.{pk}"),
        linked("*"),
    ]
)
KEYS = st.text(
    st.sampled_from("abA.~%*{}/:&+ 2E5\n\x00\x85\u2028é")
    | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def text_users(settings: DjangoSettings) -> None:
    settings.AUTH_USER_MODEL = "text_keys.Person"
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "tests.harness.text_keys.models.OwnersBackend",
    ]
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.RULES"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[ControlEntry]:
    """The control entries that the test sends, at once although it runs in a transaction."""
    entries: list[ControlEntry] = []
    monkeypatch.setattr(control._publisher, "send", entries.append)
    monkeypatch.setattr("django.db.transaction.on_commit", lambda act, **_: act())
    return entries


def person(key: str) -> Person:
    user: Person = Person.objects.get_or_create(name=key, defaults={"team": key})[0]
    return user


def client_of(user: Person) -> AsyncClient:
    client = AsyncClient()
    backend = "django.contrib.auth.backends.ModelBackend"
    client.force_login(user, backend)  # type: ignore[arg-type]  # no `django.contrib.auth` user
    return client


def statuses(requests: list[tuple[AsyncClient, str]]) -> list[int]:
    """The statuses of requests for streams, which HEAD asks for without opening any."""

    async def heads() -> list[int]:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return [(await client.head(target)).status_code for client, target in requests]
        finally:
            await runtime.stop()

    return async_to_sync(heads)()


def topics_of(user: Person) -> list[str]:
    """The topics that the rules give to this user and to nobody else."""
    order, _ = Order.objects.get_or_create(number=user.pk, defaults={"owner": user})
    return [
        user_topic(user),
        f"{user_topic(user)}.below",
        f"team.{topic_segment(user.team)}",
        f"orders.{topic_segment(order.pk)}",
    ]


@given(KEYS, KEYS)
@example("john", "john.doe")
@example("john", "john.")
@example("a", "a~2Eb")
@example("a.b", "a~2Eb")
@example("a%2Eb", "a.b")
@example("*", "a")
@example("{id}", "{pk}")
@example("a\n", "a")
@example("A", "a")
@example(" a", "a")
@hypothesis_settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_key_has_its_own_topics_and_none_of_another(one: str, other: str) -> None:
    assume(one != other)
    users = [person(one), person(other)]
    requests, expected = [], []
    for user in users:
        client = client_of(user)
        requests.append((client, "/events/"))
        expected.append(200)
        for whose in users:
            targets = [f"/events/?{urlencode({'topic': topic})}" for topic in topics_of(whose)]
            link = events_url(user_topic(whose), user=whose)
            requests += [(client, target) for target in (*targets, link)]
            expected += [200 if whose == user else 403] * (len(targets) + 1)
            requests.append((AsyncClient(), link))
            expected.append(200)
    assert statuses(requests) == expected


@pytest.mark.parametrize(
    "segment", ["a~2eb", "a~2", "a~", "~41", "a~C3", "~ED~A0~80", "a*", "{pk}"]
)
def test_a_segment_that_is_not_quoted_exactly_as_the_key_is_matches_nothing(segment: str) -> None:
    """Two spellings of one topic would be two topics."""
    assert parse_segment(segment) is None
    for key in {"a.b", "a", "A", "a*", "{pk}", "\x85", segment}:
        order, _ = Order.objects.get_or_create(number=key, defaults={"owner": person("a.b")})
        assert order.pk == key
    requests = [
        (client_of(person(key)), f"/events/?{urlencode({'topic': topic})}")
        for topic in (f"user.{segment}", f"orders.{segment}", f"team.{segment}")
        for key in ("a.b", "a", "A", "a*", segment)
    ]
    assert set(statuses(requests)) == {403}


@pytest.mark.parametrize("key", ["john.doe", "5", "a:b", "*", "anonymous", "a~2Eb", "b\x1f1\n"])
def test_orders_to_recheck_and_to_kick_name_the_subject_of_the_users_streams(
    key: str, sent: list[ControlEntry]
) -> None:
    user = person(key)
    request = RequestFactory().get("/")

    async def auser() -> Any:
        return user

    request.auser = auser
    identity = async_to_sync(authenticate_session)(request)
    orders: list[Callable[[], None]] = [
        lambda: kick(user=user),
        lambda: kick(user=key),
        lambda: recheck(user=key),
    ]
    for order in orders:
        order()
        assert sent.pop().subjects == identity.subjects == (user_subject(key),)
    assert async_to_sync(reauthenticate)(identity) == identity


@given(KEYS, KEYS)
def test_each_key_has_a_subject_of_its_own_on_one_line(one: str, other: str) -> None:
    """A line of the log, and the namespace of a tenant, end with a control character."""
    assert (user_subject(one) == user_subject(other)) == (one == other)
    assert not any(unicodedata.category(character) == "Cc" for character in user_subject(one))
    assert user_subject("john.doe") == "user:john.doe"


def test_a_user_without_a_key_can_have_no_topic_no_link_and_no_order(
    sent: list[ControlEntry],
) -> None:
    nobody = Person(name="")
    acts: list[Callable[[], object]] = [
        lambda: user_topic(nobody),
        lambda: events_url("news", user=nobody),
        lambda: kick(user=nobody),
        lambda: recheck(user=nobody),
    ]
    for act in acts:
        with pytest.raises(Invalid):
            act()
    assert not sent


def test_a_key_too_long_for_a_topic_is_refused_in_words(settings: DjangoSettings) -> None:
    user = person("." * 100)
    response: Any = async_to_sync(client_of(user).get)("/events/")
    assert response.status_code == 400
    assert "at most 255 bytes" in response.json()["detail"]
