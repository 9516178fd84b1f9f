"""API keys: their format, identities and scopes, and the refusal of every other text."""

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

from notifications.access.identities.api_keys import authenticate_key, forget, issue, reauthenticate
from notifications.access.identities.base import Kind, Verb
from notifications.errors import Unauthenticated, Unavailable
from notifications.models import ApiKey
from tests.harness.servers import PUBLISH_KEY

pytestmark = pytest.mark.django_db(transaction=True)


def make_key(**fields: Any) -> tuple[ApiKey, str]:
    key = ApiKey(**{"name": "orders", "subscribe": ["orders"], "publish": ["news.*"], **fields})
    text = issue(key)
    key.full_clean()
    key.save()
    return key, text


amake_key = sync_to_async(make_key)


async def refusal(text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate_key(text)
    return caught.value.detail


# Format


def test_a_key_has_a_format_that_secret_scanners_recognise() -> None:
    key, text = make_key()
    assert re.fullmatch(r"crl_[a-z0-9]{8}_[A-Za-z0-9]{43}", text)
    assert text.startswith(f"crl_{key.prefix}_")


def test_no_two_keys_are_equal() -> None:
    assert len({issue(ApiKey(name="x")) for _ in range(100)}) == 100


def test_only_the_hash_of_a_key_is_stored() -> None:
    _, text = make_key()
    secret = text.rpartition("_")[2]
    (row,) = ApiKey.objects.values()
    assert re.fullmatch(r"[0-9a-f]{64}", row["digest"])
    assert secret not in repr(row)


def test_a_key_gets_its_secret_only_once() -> None:
    key, _ = make_key()
    with pytest.raises(ValueError, match="issued before"):
        issue(key)


# Identities


async def test_a_key_is_named_by_its_prefix_and_allows_its_patterns() -> None:
    key, text = await amake_key(expires_at=timezone.now() + timedelta(hours=1))
    identity = await authenticate_key(text)
    assert (identity.kind, identity.name) == (Kind.KEY, f"key:{key.prefix}")
    assert identity.subjects == (f"key:{key.pk}",)
    assert key.expires_at is not None
    assert identity.until == key.expires_at.timestamp()
    assert identity.scope is not None
    assert identity.scope.allows(Verb.SUBSCRIBE, "orders.42")
    assert not identity.scope.allows(Verb.SUBSCRIBE, "news.sport")
    assert identity.scope.allows(Verb.PUBLISH, "news.sport")
    assert not identity.scope.allows(Verb.PUBLISH, "orders.42")


async def test_the_identity_of_a_key_does_not_contain_its_secret() -> None:
    _, text = await amake_key()
    assert text.rpartition("_")[2] not in repr(await authenticate_key(text))


async def test_a_key_that_never_expires_has_no_end() -> None:
    _, text = await amake_key()
    assert (await authenticate_key(text)).until is None


# Refusals


async def test_unknown_expired_and_revoked_keys_have_the_same_answer() -> None:
    _, expired = await amake_key(expires_at=timezone.now() - timedelta(seconds=1))
    revoked, text = await amake_key()
    await sync_to_async(revoked.revoke)()
    _, right = await amake_key()
    forged = right[:-1] + ("a" if right[-1] != "a" else "b")
    unknown = issue(ApiKey(name="never saved"))
    others = [PUBLISH_KEY + "x", "", "crl_", right.upper(), f" {right}", f"{right}\n", "länger"]
    assert {await refusal(key) for key in [expired, text, forged, unknown, *others]} == {
        "This key is not known, or is no longer valid."
    }


async def test_a_key_with_invalid_patterns_is_refused() -> None:
    key = ApiKey(name="by hand", publish=["a..b"])
    text = issue(key)
    await key.asave()
    await refusal(text)


async def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(a: Any, b: Any) -> bool:
        compared.append(a)
        return bool(a == b)

    key, text = await amake_key()
    monkeypatch.setattr("hmac.compare_digest", compare)
    await authenticate_key(text)
    assert compared == [text.encode(), key.digest]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.from_regex(r"crl_[a-z0-9]{0,9}_[A-Za-z0-9]{42,44}", fullmatch=True))
@example("crl_aaaaaaaa_" + "a" * 43)
@example("\ud800")
@example("x" * 1_000_000)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        async_to_sync(authenticate_key)(text)


# The cache


async def test_a_key_that_is_used_again_at_once_costs_no_query() -> None:
    key, text = await amake_key()
    first = await authenticate_key(text)
    await ApiKey.objects.aupdate(revoked_at=timezone.now())  # sends no signal
    assert await authenticate_key(text) is first
    forget(key.subject)
    await refusal(text)


async def test_a_cached_key_that_expires_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expires = timezone.now() + timedelta(hours=1)
    _, text = await amake_key(expires_at=expires)
    await authenticate_key(text)
    monkeypatch.setattr("time.time", lambda: expires.timestamp() + 1)
    await refusal(text)


async def test_a_revoked_or_deleted_key_is_refused_at_once_in_this_process() -> None:
    revoked, first = await amake_key()
    deleted, second = await amake_key()
    for text in first, second:
        await authenticate_key(text)
    await sync_to_async(revoked.revoke)()
    await deleted.adelete()
    for text in first, second:
        await refusal(text)


# Reauthentication


async def test_reauthenticate_reads_what_a_key_allows_now() -> None:
    key, text = await amake_key()
    identity = await authenticate_key(text)
    key.subscribe = ["news"]
    await key.asave()
    again = await reauthenticate(identity)
    assert again is not None
    assert again.scope is not None
    assert again.scope.allows(Verb.SUBSCRIBE, "news")
    assert again.subjects == identity.subjects


async def test_a_key_that_has_ended_is_not_reauthenticated() -> None:
    key, text = await amake_key()
    identity = await authenticate_key(text)
    await sync_to_async(key.revoke)()
    assert await reauthenticate(identity) is None
    await key.adelete()
    assert await reauthenticate(identity) is None


async def test_a_key_is_not_refused_while_the_database_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: Any, **__: Any) -> ApiKey:
        raise DatabaseError("gone")

    key, text = await amake_key()
    identity = await authenticate_key(text)
    forget(key.subject)
    monkeypatch.setattr(ApiKey.objects, "aget", fail)
    with pytest.raises(Unavailable) as caught:
        await authenticate_key(text)
    assert caught.value.outcome == "not_sent"
    with pytest.raises(Unavailable):
        await reauthenticate(identity)


# Keys in the settings


async def test_a_key_of_the_settings_publishes_everywhere_and_may_not_subscribe() -> None:
    identity = await authenticate_key(PUBLISH_KEY)
    assert identity.name == f"key:{hashlib.sha256(PUBLISH_KEY.encode()).hexdigest()[:16]}"
    assert identity.scope is not None
    assert identity.scope.allows(Verb.PUBLISH, "any.thing")
    assert not identity.scope.allows(Verb.SUBSCRIBE, "any.thing")


async def test_every_key_of_the_settings_is_compared(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(a: Any, b: Any) -> bool:
        compared.append(b)
        return bool(a == b)

    several = [PUBLISH_KEY, "another-key-for-the-tests"]
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": several}
    monkeypatch.setattr("hmac.compare_digest", compare)
    await authenticate_key(PUBLISH_KEY)
    assert compared == [key.encode() for key in several]


async def test_a_key_of_the_settings_is_reauthenticated_while_it_is_configured(
    settings: DjangoSettings,
) -> None:
    identity = await authenticate_key(PUBLISH_KEY)
    # Reauthentication needs no more of the identity than this.
    assert await reauthenticate(replace(identity, scope=None)) == identity
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": []}
    assert await reauthenticate(identity) is None
