"""Bearer tokens: what a valid token allows, and why every other token is refused."""

import sys
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.base import Kind, Verb
from notifications.access.identities.jwt import authenticate_token, is_token, reauthenticate
from notifications.conf import get_settings
from notifications.errors import Unauthenticated
from tests.harness.servers import PUBLISH_KEY
from tests.harness.tokens import ISSUER, SECRET, claims, forge_token, jwt_setting, key_pair, token

HEADER = {"alg": "HS256", "typ": "JWT", "kid": "main"}
ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"]


@pytest.fixture(autouse=True)
def tokens_are_accepted(settings: DjangoSettings) -> None:
    configure(settings, jwt_setting())


def configure(settings: DjangoSettings, jwt: dict[str, Any] | None) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": jwt}


async def refusal(text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate_token(text)
    assert caught.value.extensions == {}
    return caught.value.detail


# Valid tokens


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_valid_token_allows_its_patterns(settings: DjangoSettings, algorithm: str) -> None:
    configure(settings, jwt_setting(algorithm))
    exp = int(time.time()) + 60
    identity = await authenticate_token(token(algorithm, exp=exp, jti="t1"))
    assert (identity.kind, identity.name) == (Kind.TOKEN, f"token:{ISSUER}:ada")
    assert identity.subjects == ("token:ada", "jti:t1")
    assert identity.until == exp
    assert identity.scope is not None
    assert identity.scope.allows(Verb.SUBSCRIBE, "orders.42")
    assert not identity.scope.allows(Verb.SUBSCRIBE, "news.sport")
    assert identity.scope.allows(Verb.PUBLISH, "news.sport")
    assert not identity.scope.allows(Verb.PUBLISH, "orders.42")


@pytest.mark.parametrize("claim", [None, {}, {"subscribe": []}, {"admin": True}])
async def test_a_token_without_patterns_allows_no_topic(claim: Any) -> None:
    identity = await authenticate_token(token(carillon=claim))
    assert identity.scope is not None
    assert not identity.scope.allows(Verb.SUBSCRIBE, "orders")
    assert not identity.scope.allows(Verb.PUBLISH, "orders")


async def test_one_of_several_audiences_is_enough() -> None:
    assert await authenticate_token(token(aud=["elsewhere", jwt_setting()["AUDIENCE"]]))


async def test_a_token_names_one_of_several_keys(settings: DjangoSettings) -> None:
    keys = {**jwt_setting()["KEYS"], "new": jwt_setting("ES256")["KEYS"]["main"]}
    configure(settings, jwt_setting(KEYS=keys))
    assert await authenticate_token(token())
    assert await authenticate_token(token("ES256", header={"kid": "new"}))
    assert "alg" in await refusal(token("ES256", header={"kid": "main"}))


async def test_the_only_key_need_not_be_named() -> None:
    assert await authenticate_token(forge_token({"alg": "HS256"}, claims()))


async def test_clocks_may_differ_by_the_leeway(settings: DjangoSettings) -> None:
    now = int(time.time())
    configure(settings, jwt_setting(LEEWAY=30))
    identity = await authenticate_token(token(exp=now - 10, nbf=now + 10, iat=now + 10))
    assert identity.until == now + 20
    assert "expired" in await refusal(token(exp=now - 40))


async def test_a_token_is_reauthenticated_until_it_expires() -> None:
    identity = await authenticate_token(token())
    # Reauthentication needs no more of the identity than this.
    unscoped = replace(identity, scope=None)
    assert await reauthenticate(unscoped) == identity
    expired = token(exp=int(time.time()) - 1)
    assert await reauthenticate(replace(unscoped, credentials=expired)) is None


async def test_a_token_that_is_used_again_at_once_is_not_verified_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = token()
    first = await authenticate_token(text)
    monkeypatch.setattr(jwt, "decode", None)
    assert await authenticate_token(text) is first
    assert first.until is not None
    end = first.until
    monkeypatch.setattr("time.time", lambda: end)
    assert "expired" in await refusal(text)


async def test_a_token_is_not_reauthenticated_once_its_key_is_not_trusted(
    settings: DjangoSettings,
) -> None:
    identity = await authenticate_token(token())
    configure(settings, jwt_setting("ES256"))
    assert await reauthenticate(identity) is None
    configure(settings, None)
    assert await reauthenticate(identity) is None


async def test_the_identity_of_a_token_does_not_show_the_token() -> None:
    text = token()
    assert text.split(".")[2] not in repr(await authenticate_token(text))


# Refusals


async def test_alg_none_is_refused() -> None:
    for alg in "none", "None", "NONE", "":
        for secret in None, "", SECRET:
            header = {**HEADER, "alg": alg}
            assert "'alg'" in await refusal(forge_token(header, claims(), secret))


async def test_a_public_key_is_not_accepted_as_a_shared_secret(settings: DjangoSettings) -> None:
    """Algorithm confusion: everybody knows the public key, and could sign with it."""
    for algorithm in "RS256", "ES256", "EdDSA":
        configure(settings, jwt_setting(algorithm))
        for pem in key_pair(algorithm).public_pem, key_pair(algorithm).public_pem.strip():
            forged = forge_token(HEADER, claims(), pem)
            assert "'alg'" in await refusal(forged)
            forged = forge_token({**HEADER, "alg": algorithm}, claims(), pem)
            assert "signature" in await refusal(forged) or "verified" in await refusal(forged)


@pytest.mark.parametrize("alg", ["HS384", "HS512", "RS256", "PS256", "hs256", None, 1, ["HS256"]])
async def test_an_algorithm_other_than_the_keys_is_refused(alg: Any) -> None:
    await refusal(forge_token({**HEADER, "alg": alg}, claims()))


async def test_a_wrong_signature_is_refused() -> None:
    assert "signature" in await refusal(forge_token(HEADER, claims(), SECRET + "x"))
    head, _, signature = token().split(".")
    _, other, _ = token(sub="eve").split(".")
    assert "signature" in await refusal(f"{head}.{other}.{signature}")
    assert "signature" in await refusal(f"{head}.{other}.")


async def test_a_wrong_audience_is_refused() -> None:
    for audience in "https://elsewhere", ["a", "b"], jwt_setting()["AUDIENCE"][:-1]:
        assert "another audience" in await refusal(token(aud=audience))


async def test_a_wrong_issuer_is_refused() -> None:
    for issuer in "https://elsewhere", "", ISSUER[:-1], ISSUER[1:]:
        assert "another issuer" in await refusal(forge_token(HEADER, claims(iss=issuer)))
    await refusal(forge_token(HEADER, claims(iss=[ISSUER])))


@pytest.mark.parametrize("missing", ["exp", "aud", "iss"])
async def test_a_token_without_an_end_an_audience_or_an_issuer_is_refused(missing: str) -> None:
    changes: dict[str, Any] = {missing: None}
    assert "lacks" in await refusal(token(**changes))


async def test_an_expired_token_is_refused() -> None:
    assert "expired" in await refusal(token(exp=int(time.time())))


async def test_a_token_that_is_not_valid_yet_is_refused() -> None:
    later = int(time.time()) + 60
    assert "not valid yet" in await refusal(token(nbf=later))
    assert "not valid yet" in await refusal(token(iat=later))


async def test_an_unknown_kid_is_refused() -> None:
    for kid in "other", "", "../../etc/passwd", "main\0":
        assert "'kid' is not known" in await refusal(token(header={"kid": kid}))


async def test_without_a_kid_one_of_several_keys_is_not_guessed(settings: DjangoSettings) -> None:
    keys = {**jwt_setting()["KEYS"], "new": jwt_setting("ES256")["KEYS"]["main"]}
    configure(settings, jwt_setting(KEYS=keys))
    assert "no 'kid'" in await refusal(forge_token({"alg": "HS256"}, claims()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://evil.example/keys"),
        ("jwk", {"kty": "oct", "k": "AAAA"}),
        ("x5u", "https://evil.example/chain"),
        ("x5c", ["AAAA"]),
        ("crit", ["exp"]),
        ("crit", []),
        ("b64", True),
    ],
)
async def test_a_header_that_brings_its_own_key_or_meaning_is_refused(
    name: str, value: Any
) -> None:
    await refusal(forge_token({**HEADER, name: value}, claims()))


async def test_a_token_that_is_too_long_is_refused() -> None:
    assert "characters" in await refusal(token(junk="x" * 8_000))


@pytest.mark.parametrize(
    "claim",
    [
        [],
        "orders",
        {"subscribe": "orders"},
        {"subscribe": [1]},
        {"publish": ["a..b"]},
        {"publish": ["a"] * 101},
        {"publish": {"a": "b"}},
        {"publish": None},
    ],
)
async def test_an_invalid_scope_is_refused(claim: Any) -> None:
    assert "carillon" in await refusal(token(carillon=claim))


@pytest.mark.parametrize(
    ("name", "value"), [("sub", "a\nb"), ("sub", "x" * 256), ("sub", 5), ("jti", ""), ("jti", [])]
)
async def test_a_name_that_cannot_be_logged_is_refused(name: str, value: Any) -> None:
    await refusal(forge_token(HEADER, claims(**{name: value})))


@pytest.mark.parametrize("text", ["", "a.b.c", "eyJ.a", "eyJ..", "eyJhbGci.é.a", PUBLISH_KEY, "."])
async def test_a_text_that_is_no_token_is_refused(text: str) -> None:
    await refusal(text)
    assert not is_token(text)


async def test_no_refusal_contains_the_token_or_the_secret() -> None:
    for text in token(exp=1), token(aud="x"), forge_token(HEADER, claims(), "x"), token() + "x":
        detail = await refusal(text)
        assert not any(part in detail for part in (*text.split("."), SECRET))


async def test_without_a_configured_issuer_every_token_is_refused(settings: DjangoSettings) -> None:
    configure(settings, None)
    assert await refusal(token()) == "Tokens are not accepted here."


# Without PyJWT


def test_tokens_without_pyjwt_are_a_configuration_error_that_names_the_package(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in "jwt", "cryptography.exceptions":
        monkeypatch.setitem(sys.modules, missing, None)
        configure(settings, jwt_setting("EdDSA"))
        with pytest.raises(ImproperlyConfigured, match=r"install django-carillon\[jwt\]"):
            get_settings()
        monkeypatch.undo()
