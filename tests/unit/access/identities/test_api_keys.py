"""API keys: whose they are, what they allow, and how every other text is refused."""

import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DatabaseError
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.access.identities import api_keys
from notifications.access.identities.api_keys import by_key, forget, issue, renewed
from notifications.access.identities.base import Kind, Verb
from notifications.access.identities.cache import Verified
from notifications.errors import Unauthenticated, Unavailable
from notifications.models import ApiKey
from tests.harness.servers import PUBLISH_KEY

pytestmark = pytest.mark.django_db(transaction=True)


def made(**fields: Any) -> tuple[ApiKey, str]:
    key = ApiKey(**{"name": "orders", "subscribe": ["orders"], "publish": ["news.*"], **fields})
    text = issue(key)
    key.full_clean()
    key.save()
    return key, text


amade = sync_to_async(made)


async def refusal(text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await by_key(text)
    return caught.value.detail


# What they are


def test_a_key_is_recognised_by_those_who_scan_for_secrets() -> None:
    key, text = made()
    assert re.fullmatch(r"crl_[a-z0-9]{8}_[A-Za-z0-9]{43}", text)
    assert text.startswith(f"crl_{key.prefix}_")


def test_no_two_keys_are_alike() -> None:
    assert len({issue(ApiKey(name="x")) for _ in range(100)}) == 100


def test_only_the_hash_of_a_key_is_at_rest() -> None:
    _, text = made()
    secret = text.rpartition("_")[2]
    (row,) = ApiKey.objects.values()
    assert re.fullmatch(r"[0-9a-f]{64}", row["digest"])
    assert secret not in repr(row)


def test_a_key_that_has_its_secret_is_not_given_another() -> None:
    key, _ = made()
    with pytest.raises(ValueError, match="issued before"):
        issue(key)


# Whose they are


async def test_a_key_is_known_by_its_prefix_and_allows_what_it_says() -> None:
    key, text = await amade(expires_at=timezone.now() + timedelta(hours=1))
    identity = await by_key(text)
    assert (identity.kind, identity.name) == (Kind.KEY, f"key:{key.prefix}")
    assert identity.subjects == (f"key:{key.pk}",)
    assert key.expires_at is not None
    assert identity.until == key.expires_at.timestamp()
    assert identity.scope is not None
    assert identity.scope.allows(Verb.SUBSCRIBE, "orders.42")
    assert not identity.scope.allows(Verb.SUBSCRIBE, "news.sport")
    assert identity.scope.allows(Verb.PUBLISH, "news.sport")
    assert not identity.scope.allows(Verb.PUBLISH, "orders.42")


async def test_what_is_known_of_a_key_does_not_hold_its_secret() -> None:
    _, text = await amade()
    assert text.rpartition("_")[2] not in repr(await by_key(text))


async def test_a_key_that_never_expires_has_no_end() -> None:
    _, text = await amade()
    assert (await by_key(text)).until is None


# Who is refused


async def test_unknown_expired_and_revoked_keys_have_the_same_answer() -> None:
    _, expired = await amade(expires_at=timezone.now() - timedelta(seconds=1))
    revoked, text = await amade()
    await sync_to_async(revoked.revoke)()
    _, right = await amade()
    forged = right[:-1] + ("a" if right[-1] != "a" else "b")
    unknown = issue(ApiKey(name="never saved"))
    others = [PUBLISH_KEY + "x", "", "crl_", right.upper(), f" {right}", f"{right}\n", "länger"]
    assert {await refusal(each) for each in [expired, text, forged, unknown, *others]} == {
        "This key is not known, or is valid no longer."
    }


async def test_a_key_whose_patterns_nobody_looked_at_is_refused() -> None:
    key = ApiKey(name="by hand", publish=["a..b"])
    text = issue(key)
    await key.asave()
    await refusal(text)


async def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def comparing(one: Any, other: Any) -> bool:
        compared.append(one)
        return bool(one == other)

    key, text = await amade()
    monkeypatch.setattr("hmac.compare_digest", comparing)
    await by_key(text)
    assert compared == [text.encode(), key.digest]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.from_regex(r"crl_[a-z0-9]{0,9}_[A-Za-z0-9]{42,44}", fullmatch=True))
@example("crl_aaaaaaaa_" + "a" * 43)
@example("\ud800")
@example("x" * 1_000_000)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        async_to_sync(by_key)(text)


# In between


async def test_a_key_that_is_used_again_at_once_is_not_looked_up_again() -> None:
    key, text = await amade()
    first = await by_key(text)
    await ApiKey.objects.aupdate(revoked_at=timezone.now())  # behind the back of all signals
    assert await by_key(text) is first
    forget(key.subject)
    await refusal(text)


async def test_a_key_that_expires_meanwhile_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expires = timezone.now() + timedelta(hours=1)
    _, text = await amade(expires_at=expires)
    await by_key(text)
    monkeypatch.setattr("time.time", lambda: expires.timestamp() + 1)
    await refusal(text)


async def test_what_ends_a_key_ends_it_at_once_in_this_process() -> None:
    revoked, first = await amade()
    deleted, second = await amade()
    for text in first, second:
        await by_key(text)
    await sync_to_async(revoked.revoke)()
    await deleted.adelete()
    for text in first, second:
        await refusal(text)


# Asked again


async def test_renewed_tells_what_a_key_allows_now() -> None:
    key, text = await amade()
    identity = await by_key(text)
    key.subscribe = ["news"]
    await key.asave()
    again = await renewed(identity)
    assert again is not None
    assert again.scope is not None
    assert again.scope.allows(Verb.SUBSCRIBE, "news")
    assert again.subjects == identity.subjects


async def test_a_key_that_has_ended_is_not_renewed() -> None:
    key, text = await amade()
    identity = await by_key(text)
    await sync_to_async(key.revoke)()
    assert await renewed(identity) is None
    await key.adelete()
    assert await renewed(identity) is None


async def test_a_database_that_is_away_is_not_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> ApiKey:
        raise DatabaseError("gone")

    _, text = await amade()
    identity = await by_key(text)
    monkeypatch.setattr(api_keys, "_verified", Verified())
    monkeypatch.setattr(ApiKey.objects, "aget", away)
    with pytest.raises(Unavailable) as caught:
        await by_key(text)
    assert caught.value.outcome == "not_sent"
    with pytest.raises(Unavailable):
        await renewed(identity)


# Those in the settings


async def test_a_key_of_the_settings_publishes_everywhere_and_hears_nothing() -> None:
    identity = await by_key(PUBLISH_KEY)
    assert identity.name == f"key:{hashlib.sha256(PUBLISH_KEY.encode()).hexdigest()[:16]}"
    assert identity.scope is not None
    assert identity.scope.allows(Verb.PUBLISH, "any.thing")
    assert not identity.scope.allows(Verb.SUBSCRIBE, "any.thing")


async def test_every_key_of_the_settings_is_compared(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def comparing(one: Any, other: Any) -> bool:
        compared.append(other)
        return bool(one == other)

    several = [PUBLISH_KEY, "another-key-for-the-tests"]
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": several}
    monkeypatch.setattr("hmac.compare_digest", comparing)
    await by_key(PUBLISH_KEY)
    assert compared == [each.encode() for each in several]


async def test_a_key_of_the_settings_is_renewed_while_it_is_there(settings: DjangoSettings) -> None:
    identity = await by_key(PUBLISH_KEY)
    # A stream keeps no more of it than this.
    assert await renewed(replace(identity, scope=None)) == identity
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": []}
    assert await renewed(identity) is None
