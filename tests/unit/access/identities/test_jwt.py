"""Bearer tokens: what a good one allows, and why each other one is refused."""

import json
import sys
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.base import Kind, Verb
from notifications.access.identities.jwt import by_token, is_token, renewed
from notifications.conf import get_settings
from notifications.errors import Unauthenticated
from tests.harness.servers import PUBLISH_KEY
from tests.harness.tokens import ISSUER, SECRET, by_hand, claims, pair, setting, token

HEADER = {"alg": "HS256", "typ": "JWT", "kid": "main"}
ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"]


@pytest.fixture(autouse=True)
def tokens_are_taken(settings: DjangoSettings) -> None:
    configure(settings, setting())


def configure(settings: DjangoSettings, jwt: dict[str, Any] | None) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": jwt}


async def refusal(text: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await by_token(text)
    assert caught.value.extensions == {}
    return caught.value.detail


# What is taken


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_token_allows_what_it_says(settings: DjangoSettings, algorithm: str) -> None:
    configure(settings, setting(algorithm))
    exp = int(time.time()) + 60
    identity = await by_token(token(algorithm, exp=exp, jti="t1"))
    assert (identity.kind, identity.name) == (Kind.TOKEN, f"token:{ISSUER}:ada")
    assert identity.subjects == ("token:ada", "jti:t1")
    assert identity.until == exp
    assert identity.scope is not None
    assert identity.scope.allows(Verb.SUBSCRIBE, "orders.42")
    assert not identity.scope.allows(Verb.SUBSCRIBE, "news.sport")
    assert identity.scope.allows(Verb.PUBLISH, "news.sport")
    assert not identity.scope.allows(Verb.PUBLISH, "orders.42")


@pytest.mark.parametrize("claim", [None, {}, {"subscribe": []}, {"admin": True}])
async def test_a_token_that_says_nothing_of_topics_allows_none(claim: Any) -> None:
    identity = await by_token(token(carillon=claim))
    assert identity.scope is not None
    assert not identity.scope.allows(Verb.SUBSCRIBE, "orders")
    assert not identity.scope.allows(Verb.PUBLISH, "orders")


async def test_one_of_several_audiences_is_enough() -> None:
    assert await by_token(token(aud=["elsewhere", setting()["AUDIENCE"]]))


async def test_of_several_keys_the_token_names_one(settings: DjangoSettings) -> None:
    keys = {**setting()["KEYS"], "new": setting("ES256")["KEYS"]["main"]}
    configure(settings, setting(KEYS=keys))
    assert await by_token(token())
    assert await by_token(token("ES256", header={"kid": "new"}))
    assert "alg" in await refusal(token("ES256", header={"kid": "main"}))


async def test_the_only_key_need_not_be_named() -> None:
    assert await by_token(by_hand({"alg": "HS256"}, claims()))


async def test_clocks_may_differ_by_the_leeway(settings: DjangoSettings) -> None:
    now = int(time.time())
    configure(settings, setting(LEEWAY=30))
    identity = await by_token(token(exp=now - 10, nbf=now + 10, iat=now + 10))
    assert identity.until == now + 20
    assert "expired" in await refusal(token(exp=now - 40))


async def test_a_token_is_renewed_until_its_end() -> None:
    identity = await by_token(token())
    # A stream keeps no more of it than this.
    light = replace(identity, scope=None)
    assert await renewed(light) == identity
    expired = token(exp=int(time.time()) - 1)
    assert await renewed(replace(light, credentials=expired)) is None


async def test_a_token_that_is_used_again_at_once_is_not_verified_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = token()
    first = await by_token(text)
    monkeypatch.setattr(jwt, "decode", None)
    assert await by_token(text) is first
    assert first.until is not None
    end = first.until
    monkeypatch.setattr("time.time", lambda: end)
    assert "expired" in await refusal(text)


async def test_a_token_is_not_renewed_where_its_key_is_trusted_no_longer(
    settings: DjangoSettings,
) -> None:
    identity = await by_token(token())
    configure(settings, setting("ES256"))
    assert await renewed(identity) is None
    configure(settings, None)
    assert await renewed(identity) is None


async def test_what_is_known_of_a_token_is_not_the_token() -> None:
    text = token()
    assert text.split(".")[2] not in repr(await by_token(text))


# What is refused


async def test_alg_none_is_refused() -> None:
    for alg in "none", "None", "NONE", "":
        for secret in None, "", SECRET:
            header = {**HEADER, "alg": alg}
            assert "'alg'" in await refusal(by_hand(header, claims(), secret))


async def test_a_public_key_is_not_taken_for_a_shared_secret(settings: DjangoSettings) -> None:
    """Algorithm confusion: whoever knows the public key would sign with it."""
    for algorithm in "RS256", "ES256", "EdDSA":
        configure(settings, setting(algorithm))
        for pem in pair(algorithm).public_pem, pair(algorithm).public_pem.strip():
            forged = by_hand(HEADER, claims(), pem)
            assert "'alg'" in await refusal(forged)
            forged = by_hand({**HEADER, "alg": algorithm}, claims(), pem)
            assert "signature" in await refusal(forged) or "verified" in await refusal(forged)


@pytest.mark.parametrize("alg", ["HS384", "HS512", "RS256", "PS256", "hs256", None, 1, ["HS256"]])
async def test_an_algorithm_that_is_not_the_keys_is_refused(alg: Any) -> None:
    await refusal(by_hand({**HEADER, "alg": alg}, claims()))


async def test_a_wrong_signature_is_refused() -> None:
    assert "signature" in await refusal(by_hand(HEADER, claims(), SECRET + "x"))
    head, _, signature = token().split(".")
    _, other, _ = token(sub="eve").split(".")
    assert "signature" in await refusal(f"{head}.{other}.{signature}")
    assert "signature" in await refusal(f"{head}.{other}.")


async def test_a_wrong_audience_is_refused() -> None:
    for audience in "https://elsewhere", ["a", "b"], setting()["AUDIENCE"][:-1]:
        assert "another audience" in await refusal(token(aud=audience))


async def test_a_wrong_issuer_is_refused() -> None:
    for issuer in "https://elsewhere", "", ISSUER[:-1], ISSUER[1:]:
        assert "another issuer" in await refusal(by_hand(HEADER, claims(iss=issuer)))
    await refusal(by_hand(HEADER, claims(iss=[ISSUER])))


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
    keys = {**setting()["KEYS"], "new": setting("ES256")["KEYS"]["main"]}
    configure(settings, setting(KEYS=keys))
    assert "no 'kid'" in await refusal(by_hand({"alg": "HS256"}, claims()))


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
    await refusal(by_hand({**HEADER, name: value}, claims()))


async def test_a_token_beyond_all_measure_is_refused() -> None:
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
async def test_a_claim_that_is_not_understood_is_refused(claim: Any) -> None:
    assert "carillon" in await refusal(token(carillon=claim))


@pytest.mark.parametrize(
    ("name", "value"), [("sub", "a\nb"), ("sub", "x" * 256), ("sub", 5), ("jti", ""), ("jti", [])]
)
async def test_a_name_that_could_not_be_logged_is_refused(name: str, value: Any) -> None:
    await refusal(by_hand(HEADER, claims(**{name: value})))


NO_TIMES: list[Any] = [[], {}, "soon", True, -1, 10**400]
NO_AUDIENCES: list[Any] = [5, {}, [5], "", []]
SENSELESS: list[Any] = [
    *([], "text", None, 1, b"", b"\xff", b"{", b"[" * 4_000, b'{"a":' * 900),
    *({**claims(), "exp": value} for value in NO_TIMES),
    *({**claims(), "nbf": value} for value in NO_TIMES[:3]),
    *({**claims(), "aud": value} for value in NO_AUDIENCES),
    *(json.dumps(claims(exp=0)).replace("0", text, 1).encode() for text in ("1e999", "NaN")),
]


@pytest.mark.parametrize("payload", SENSELESS)
async def test_a_payload_that_makes_no_sense_is_refused(payload: Any) -> None:
    await refusal(by_hand(HEADER, payload))


@pytest.mark.parametrize("text", ["", "a.b.c", "eyJ.a", "eyJ..", "eyJhbGci.é.a", PUBLISH_KEY, "."])
async def test_what_is_no_token_is_refused(text: str) -> None:
    await refusal(text)
    assert not is_token(text)


async def test_no_answer_repeats_the_token_or_the_secret() -> None:
    for text in token(exp=1), token(aud="x"), by_hand(HEADER, claims(), "x"), token() + "x":
        said = await refusal(text)
        assert not any(part in said for part in (*text.split("."), SECRET))


async def test_where_no_issuer_is_configured_no_token_is_taken(settings: DjangoSettings) -> None:
    configure(settings, None)
    assert await refusal(token()) == "Tokens are not accepted here."


# Whatever it is

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)
fuzz = hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@fuzz
@given(st.text() | st.from_regex(r"eyJ[\w-]*\.[\w-]+\.[\w-]*", fullmatch=True))
@example("eyJ" + "\ud800")
@example("eyJ" * 2_000 + "." * 1_000)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        async_to_sync(by_token)(text)


@fuzz
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), json_values),
    st.dictionaries(
        st.sampled_from(["exp", "aud", "iss", "sub", "jti", "nbf", "iat", "carillon"]), json_values
    ),
)
def test_any_signed_claims_are_an_identity_or_refused(
    header: dict[str, Any], changes: dict[str, Any]
) -> None:
    for head, body in (({**HEADER, **header}, claims()), (HEADER, {**claims(), **changes})):
        try:
            identity = async_to_sync(by_token)(by_hand(head, body))
        except Unauthenticated:
            continue
        assert identity.scope is not None
        assert identity.until is not None


# Without PyJWT


def test_tokens_that_are_configured_without_pyjwt_are_refused_with_the_cure(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in "jwt", "cryptography.exceptions":
        monkeypatch.setitem(sys.modules, missing, None)
        configure(settings, setting("EdDSA"))
        with pytest.raises(ImproperlyConfigured, match=r"install django-carillon\[jwt\]"):
            get_settings()
        monkeypatch.undo()
