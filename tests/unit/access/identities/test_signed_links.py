"""Signed links: their topics, expiry and user, and the refusal of forged links."""

import secrets
import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.core.signing import Signer
from django.db import DatabaseError
from django.utils.functional import SimpleLazyObject
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.access.identities import signed_links
from notifications.access.identities.base import Kind, Scope, Verb
from notifications.access.identities.signed_links import (
    authenticate_link,
    events_url,
    reauthenticate,
)
from notifications.errors import Forbidden, Invalid, Unauthenticated, Unavailable

database = pytest.mark.django_db(transaction=True)
make_user = sync_to_async(User.objects.create_user)


def link_of(url: str) -> str:
    [link] = parse_qs(urlsplit(url).query)["link"]
    return link


def make_link(*topics: str, **options: Any) -> str:
    return link_of(events_url(*(topics or ("orders.42",)), **options))


async def refusal(text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate_link(text)
    assert not text or text not in caught.value.detail
    return caught.value.detail


# Topics


async def test_a_link_grants_exactly_its_topics_and_none_below_them() -> None:
    identity = await authenticate_link(make_link("orders.42", "news"))
    assert identity.kind is Kind.LINK
    assert identity.scope is not None
    assert identity.scope.allows(Verb.SUBSCRIBE, "orders.42")
    assert identity.scope.allows(Verb.SUBSCRIBE, "news")
    for topic in "orders.42.items", "orders", "news.sport", "orders.*", "orders.42.":
        assert not identity.scope.allows(Verb.SUBSCRIBE, topic)
    assert not identity.scope.allows(Verb.PUBLISH, "news")


def test_the_url_opens_the_stream_with_its_options() -> None:
    url = urlsplit(events_url("news", since="10m", envelope=True))
    assert url.path == "/events/"
    query = parse_qs(url.query)
    assert (query["since"], query["envelope"]) == (["10m"], ["1"])
    assert set(query) == {"link", "since", "envelope"}
    assert set(parse_qs(urlsplit(events_url("news")).query)) == {"link"}


async def test_any_topic_survives_the_url() -> None:
    topics = ("a b&c=d", "ü.é", "+%23#?")
    identity = await authenticate_link(make_link(*topics))
    assert identity.scope == Scope(topics=topics)


def test_many_topics_are_compressed_and_too_many_are_refused() -> None:
    assert len(events_url(*(f"orders.{number}" for number in range(100)))) < 1_000
    with pytest.raises(Invalid, match="at most 7500"):
        events_url(*(secrets.token_hex(120) for _ in range(100)))


@pytest.mark.parametrize("topics", [(), ("",), ("a\nb",), tuple(map(str, range(101)))])
def test_invalid_topics_get_no_link(topics: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        events_url(*topics)


# Expiry


async def test_a_link_expires_after_the_setting_or_its_own_time(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "LINK_AGE": 100}
    for option, seconds in ((None, 100), (60, 60), (timedelta(minutes=5), 300)):
        identity = await authenticate_link(make_link(expires_in=option))
        assert identity.until is not None
        assert abs(identity.until - time.time() - seconds) < 5


async def test_an_expired_link_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = make_link(expires_in=60)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 61)
    assert "expired" in await refusal(text)


@pytest.mark.parametrize("never", [0, -1, timedelta(0)])
def test_a_link_that_would_never_work_is_an_error(never: Any) -> None:
    with pytest.raises(Invalid, match="cannot expire"):
        events_url("news", expires_in=never)


# Forged links


async def test_a_forged_or_changed_link_is_refused() -> None:
    text = make_link()
    body, _, signature = text.rpartition(":")
    other, _, _ = make_link("other").rpartition(":")
    content = [1, int(time.time()) + 60, ["secret"], "", ""]
    forged = [
        *(f"{other}:{signature}", body, f"{body}:", signature, f"{text}a", f"{text}="),
        Signer(key="guessed", salt=signed_links.SALT).sign_object(content),
        Signer(salt="another.salt").sign_object(content),
        Signer().sign_object(content),
    ]
    for link in forged:
        assert "not made here" in await refusal(link)


async def test_a_link_of_a_later_version_is_refused() -> None:
    later = Signer(salt=signed_links.SALT).sign_object([2, "whatever"])
    assert "another version" in await refusal(later)


async def test_a_link_stays_valid_after_the_secret_key_was_changed(
    settings: DjangoSettings,
) -> None:
    text = make_link()
    before = settings.SECRET_KEY
    settings.SECRET_KEY = "another key, as good as the first, for the tests of links"
    await refusal(text)
    settings.SECRET_KEY_FALLBACKS = [before]
    assert await authenticate_link(text)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.from_regex(r"\.?[\w-]+:[\w-]+", fullmatch=True))
@example("\ud800:\ud800")
@example(":" * 100_000)
@example(".eJw:" + "A" * 43)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        async_to_sync(authenticate_link)(text)


# Users


@database
async def test_a_bound_link_has_the_identity_of_its_user() -> None:
    ada = await make_user("ada", password="sesame")
    identity = await authenticate_link(make_link(user=ada))
    assert identity.user == ada
    assert f"user:{ada.pk}" in identity.subjects
    assert await reauthenticate(identity) == identity


async def test_an_unbound_link_needs_no_query_and_has_no_user() -> None:
    for user in None, AnonymousUser(), SimpleLazyObject(AnonymousUser):
        identity = await authenticate_link(make_link(user=user))
        assert not identity.user.is_authenticated
        [subject] = identity.subjects
        assert subject.startswith("link:")
        assert await reauthenticate(identity) is not None


@database
async def test_a_link_can_be_bound_to_a_lazy_user() -> None:
    ada = await make_user("ada")
    lazy = SimpleLazyObject(lambda: ada)
    assert (await authenticate_link(make_link(user=lazy))).user == ada


@database
async def test_a_link_of_a_user_whose_password_changed_is_refused() -> None:
    ada = await make_user("ada", password="sesame")
    text = make_link(user=ada)
    identity = await authenticate_link(text)
    ada.set_password("another")
    await ada.asave()
    assert "password" in await refusal(text)
    assert await reauthenticate(identity) is None
    assert await authenticate_link(make_link(user=ada))


@database
async def test_a_link_of_a_deactivated_user_is_refused() -> None:
    ada = await make_user("ada", password="sesame")
    text = make_link(user=ada)
    identity = await authenticate_link(text)
    ada.is_active = False
    await ada.asave()
    await refusal(text)
    assert await reauthenticate(identity) is None


@database
async def test_a_link_of_a_deleted_user_is_refused() -> None:
    ada = await make_user("ada", password="sesame")
    text = make_link(user=ada)
    await ada.adelete()
    await refusal(text)
    no_key = signed_links.Link(int(time.time()) + 60, ("news",), "a-uuid-of-another-model", "x")
    await refusal(no_key.sign())


@database
async def test_a_bound_link_stays_valid_after_the_secret_key_was_changed(
    settings: DjangoSettings,
) -> None:
    ada = await make_user("ada", password="sesame")
    text = make_link(user=ada)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, as good as the first, for the tests of links"
    assert (await authenticate_link(text)).user == ada


@database
async def test_a_bound_link_on_the_session_of_another_user_is_refused() -> None:
    ada, eve = await make_user("ada"), await make_user("eve")
    text = make_link(user=ada)
    with pytest.raises(Forbidden, match="another user"):
        await authenticate_link(text, visitor=eve)
    assert await authenticate_link(text, visitor=ada)
    assert await authenticate_link(text, visitor=AnonymousUser())
    assert await authenticate_link(make_link(), visitor=eve)


@database
async def test_a_link_contains_nothing_that_opens_a_session() -> None:
    ada = await make_user("ada", password="sesame")
    text = make_link(user=ada)
    payload = repr(Signer(salt=signed_links.SALT).unsign_object(text))
    auth_hash = ada.get_session_auth_hash()
    assert ada.password not in payload
    assert not any(auth_hash[i : i + 8] in payload for i in range(len(auth_hash) - 8))
    identity = await authenticate_link(text)
    assert text not in repr(identity)


@database
async def test_a_link_is_not_refused_while_the_database_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise DatabaseError("gone")

    text = make_link(user=await make_user("ada"))
    identity = await authenticate_link(text)
    monkeypatch.setattr(User.objects, "filter", fail)
    for attempt in authenticate_link(text), reauthenticate(identity):
        with pytest.raises(Unavailable):
            await attempt
