"""Signed links: what they grant, for how long, to whom, and what becomes of a forged one."""

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
from notifications.access.identities.signed_links import by_link, events_url, renewed
from notifications.errors import Forbidden, Invalid, Unauthenticated, Unavailable

database = pytest.mark.django_db(transaction=True)
make_user = sync_to_async(User.objects.create_user)


def link_of(url: str) -> str:
    [link] = parse_qs(urlsplit(url).query)["link"]
    return link


def made(*topics: str, **options: Any) -> str:
    return link_of(events_url(*(topics or ("orders.42",)), **options))


async def refusal(text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await by_link(text)
    assert not text or text not in caught.value.detail
    return caught.value.detail


# What a link is


async def test_a_link_grants_exactly_its_topics_and_nothing_beneath() -> None:
    identity = await by_link(made("orders.42", "news"))
    assert identity.kind is Kind.LINK
    assert identity.scope is not None
    assert identity.scope.allows(Verb.SUBSCRIBE, "orders.42")
    assert identity.scope.allows(Verb.SUBSCRIBE, "news")
    for topic in "orders.42.items", "orders", "news.sport", "orders.*", "orders.42.":
        assert not identity.scope.allows(Verb.SUBSCRIBE, topic)
    assert not identity.scope.allows(Verb.PUBLISH, "news")


def test_the_url_is_that_of_the_stream_with_what_else_it_knows() -> None:
    url = urlsplit(events_url("news", since="10m", envelope=True))
    assert url.path == "/events/"
    query = parse_qs(url.query)
    assert (query["since"], query["envelope"]) == (["10m"], ["1"])
    assert set(query) == {"link", "since", "envelope"}
    assert set(parse_qs(urlsplit(events_url("news")).query)) == {"link"}


async def test_any_topic_survives_the_url() -> None:
    topics = ("a b&c=d", "ü.é", "+%23#?")
    identity = await by_link(made(*topics))
    assert identity.scope == Scope(topics=topics)


def test_many_topics_are_compressed_and_too_many_are_refused() -> None:
    assert len(events_url(*(f"orders.{number}" for number in range(100)))) < 1_000
    with pytest.raises(Invalid, match="at most 7500"):
        events_url(*(secrets.token_hex(120) for _ in range(100)))


@pytest.mark.parametrize("topics", [(), ("",), ("a\nb",), tuple(map(str, range(101)))])
def test_what_is_no_topic_has_no_link(topics: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        events_url(*topics)


# For how long


async def test_a_link_ends_after_the_setting_unless_it_says(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "LINK_AGE": 100}
    for option, seconds in ((None, 100), (60, 60), (timedelta(minutes=5), 300)):
        identity = await by_link(made(expires_in=option))
        assert identity.until is not None
        assert abs(identity.until - time.time() - seconds) < 5


async def test_an_expired_link_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = made(expires_in=60)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 61)
    assert "expired" in await refusal(text)


@pytest.mark.parametrize("never", [0, -1, timedelta(0)])
def test_a_link_that_would_never_work_is_not_made(never: Any) -> None:
    with pytest.raises(Invalid, match="cannot expire"):
        events_url("news", expires_in=never)


# Forged


async def test_a_forged_or_changed_link_is_refused() -> None:
    text = made()
    body, _, signature = text.rpartition(":")
    other, _, _ = made("other").rpartition(":")
    whole = [1, int(time.time()) + 60, ["secret"], "", ""]
    forged = [
        *(f"{other}:{signature}", body, f"{body}:", signature, f"{text}a", f"{text}="),
        Signer(key="guessed", salt=signed_links.SALT).sign_object(whole),
        Signer(salt="another.salt").sign_object(whole),
        Signer().sign_object(whole),
    ]
    for each in forged:
        assert "not made here" in await refusal(each)


async def test_a_link_of_a_later_version_is_refused() -> None:
    later = Signer(salt=signed_links.SALT).sign_object([2, "whatever"])
    assert "another version" in await refusal(later)


async def test_a_link_of_before_the_secret_key_was_changed_holds(settings: DjangoSettings) -> None:
    text = made()
    before = settings.SECRET_KEY
    settings.SECRET_KEY = "another key, as good as the first, for the tests of links"
    await refusal(text)
    settings.SECRET_KEY_FALLBACKS = [before]
    assert await by_link(text)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.from_regex(r"\.?[\w-]+:[\w-]+", fullmatch=True))
@example("\ud800:\ud800")
@example(":" * 100_000)
@example(".eJw:" + "A" * 43)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        async_to_sync(by_link)(text)


# For whom


@database
async def test_a_link_of_a_user_is_the_users() -> None:
    ada = await make_user("ada", password="sesame")
    identity = await by_link(made(user=ada))
    assert identity.user == ada
    assert f"user:{ada.pk}" in identity.subjects
    assert await renewed(identity) == identity


async def test_a_link_of_nobody_asks_no_database_and_is_nobodys() -> None:
    for user in None, AnonymousUser(), SimpleLazyObject(AnonymousUser):
        identity = await by_link(made(user=user))
        assert not identity.user.is_authenticated
        [subject] = identity.subjects
        assert subject.startswith("link:")
        assert await renewed(identity) is not None


@database
async def test_a_lazy_user_is_a_user() -> None:
    ada = await make_user("ada")
    lazy = SimpleLazyObject(lambda: ada)
    assert (await by_link(made(user=lazy))).user == ada


@database
async def test_a_link_of_a_user_whose_password_changed_is_refused() -> None:
    ada = await make_user("ada", password="sesame")
    text = made(user=ada)
    identity = await by_link(text)
    ada.set_password("another")
    await ada.asave()
    assert "password" in await refusal(text)
    assert await renewed(identity) is None
    assert await by_link(made(user=ada))


@database
async def test_a_link_of_a_user_who_was_deactivated_is_refused() -> None:
    ada = await make_user("ada", password="sesame")
    text = made(user=ada)
    identity = await by_link(text)
    ada.is_active = False
    await ada.asave()
    await refusal(text)
    assert await renewed(identity) is None


@database
async def test_a_link_of_a_user_who_is_gone_is_refused() -> None:
    ada = await make_user("ada", password="sesame")
    text = made(user=ada)
    await ada.adelete()
    await refusal(text)
    no_key = signed_links.Link(int(time.time()) + 60, ("news",), "a-uuid-of-another-model", "x")
    await refusal(no_key.signed())


@database
async def test_a_link_of_a_user_holds_while_the_secret_key_is_changed(
    settings: DjangoSettings,
) -> None:
    ada = await make_user("ada", password="sesame")
    text = made(user=ada)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, as good as the first, for the tests of links"
    assert (await by_link(text)).user == ada


@database
async def test_a_bound_link_on_the_session_of_another_user_is_refused() -> None:
    ada, eve = await make_user("ada"), await make_user("eve")
    text = made(user=ada)
    with pytest.raises(Forbidden, match="another user"):
        await by_link(text, visitor=eve)
    assert await by_link(text, visitor=ada)
    assert await by_link(text, visitor=AnonymousUser())
    assert await by_link(made(), visitor=eve)


@database
async def test_a_link_tells_nothing_that_opens_a_session() -> None:
    ada = await make_user("ada", password="sesame")
    text = made(user=ada)
    payload = repr(Signer(salt=signed_links.SALT).unsign_object(text))
    auth_hash = ada.get_session_auth_hash()
    assert ada.password not in payload
    assert not any(auth_hash[i : i + 8] in payload for i in range(len(auth_hash) - 8))
    identity = await by_link(text)
    assert text not in repr(identity)


@database
async def test_a_database_that_is_away_is_not_a_wrong_link(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise DatabaseError("gone")

    text = made(user=await make_user("ada"))
    identity = await by_link(text)
    monkeypatch.setattr(User.objects, "filter", away)
    for asking in by_link(text), renewed(identity):
        with pytest.raises(Unavailable):
            await asking
