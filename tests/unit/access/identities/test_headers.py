"""Credentials in headers: ours are judged, and all others are passed over."""

from typing import Any

import pytest
from django.test import RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.headers import (
    bearer_texts,
    has_foreign_credentials,
    own_credentials,
)
from notifications.errors import Unauthenticated
from tests.harness.servers import PUBLISH_KEY
from tests.harness.tokens import claims, forge_token, jwt_setting, token

KEY = f"crl_abcdefgh_{'x' * 43}"

FOREIGN = {
    "Basic of a proxy": "Basic c3RhZ2luZzpzZWNyZXQ=",
    "an identity-aware proxy": f"Bearer {token(iss='https://cloud.google.com/iap')}",
    "a token without an issuer": f"Bearer {token(iss=None)}",
    "several issuers": f"Bearer {token(iss=None, issuers=['https://login.example.com'])}",
    "an opaque token": "Bearer ya29.a0AfH6SMBx",
    "an encrypted token": "Bearer eyJhbGciOiJkaXIifQ..MTIz.NDU2.Nzg5",
    "no JSON": "Bearer eyJub3Q.ZnJvbQ.aGVyZQ",
    "JSON, but no object": "Bearer " + forge_token({"alg": "HS256"}, [1]),
    "numbers without end": "Bearer "
    + forge_token({"alg": "HS256"}, b'{"iss":' + b"9" * 5000 + b"}"),
    "brackets without end": "Bearer " + forge_token({"alg": "HS256"}, b"[" * 6000),
    "DRF": "Token 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b",
    "JWT under another scheme": f"JWT {token()}",
    "Kerberos": "Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gJDAi",
    "Digest": 'Digest username="Mufasa", realm="x", uri="/events/?a=b,c", response="6629"',
    "AWS": "AWS4-HMAC-SHA256 Credential=AKID/20261128/eu/s3/aws4_request, Signature=fe5f80",
    "only a scheme": "Bearer",
    "a scheme and a blank": "Bearer ",
    "only commas": ",,,",
    "a comma too many": "Bearer a b, c",
    "no ASCII": "Bearer \xfe\xff",
    "two of others": "Basic eDp5, Bearer opaque",
}


@pytest.fixture(autouse=True)
def tokens_are_accepted(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": jwt_setting()}


def request_of(**headers: Any) -> Any:
    request = RequestFactory().get("/events/")
    request.META |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return request


@pytest.mark.parametrize("authorization", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_ours_is_passed_over(authorization: str) -> None:
    request = request_of(authorization=authorization)
    assert own_credentials(request) == ""
    assert has_foreign_credentials(request)


@pytest.mark.parametrize("authorization", ["", " "])
def test_an_empty_header_is_none(authorization: str) -> None:
    request = request_of(authorization=authorization)
    assert own_credentials(request) == ""
    assert not has_foreign_credentials(request)
    assert not has_foreign_credentials(request_of())


@pytest.mark.parametrize(
    "text",
    [
        PUBLISH_KEY,
        KEY,
        KEY[:-1],
        "crl_",
        token(),
        token(exp=1),
        token(aud="https://another"),
        forge_token({"alg": "none"}, claims(), None),
    ],
)
def test_what_has_the_form_of_ours_is_ours_whether_it_is_valid_or_not(text: str) -> None:
    assert own_credentials(request_of(authorization=f"bearer  {text} ")) == text
    assert own_credentials(request_of(x_api_key=text)) == text
    assert not has_foreign_credentials(request_of(authorization=f"Bearer {text}"))


@pytest.mark.parametrize("authorization", FOREIGN.values(), ids=FOREIGN)
def test_ours_is_found_beside_the_header_of_a_proxy(authorization: str) -> None:
    assert own_credentials(request_of(authorization=authorization, x_api_key=KEY)) == KEY
    # As servers join two headers of one name.
    for joined in (f"{authorization},Bearer {KEY}", f"Bearer {KEY}, {authorization}"):
        assert own_credentials(request_of(authorization=joined)) == KEY


def test_the_key_of_a_gateway_is_passed_over_too() -> None:
    request = request_of(x_api_key="gateway-key", authorization=f"Bearer {KEY}")
    assert own_credentials(request) == KEY
    assert has_foreign_credentials(request_of(x_api_key="gateway-key"))


def test_of_two_keys_none_is_chosen() -> None:
    with pytest.raises(Unauthenticated, match="several"):
        own_credentials(request_of(authorization=f"Bearer {KEY}, Bearer {PUBLISH_KEY}"))
    assert own_credentials(request_of(authorization=f"Bearer {KEY},Bearer {KEY}")) == KEY


def test_a_key_of_the_settings_may_have_a_comma(settings: DjangoSettings) -> None:
    key = "a-key,with-a-comma"
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_KEYS": [key]}
    assert own_credentials(request_of(authorization=f"Bearer {key}")) == key


@pytest.mark.parametrize("authorization", [KEY, f"Token {KEY}", f"Basic {PUBLISH_KEY}"])
def test_a_key_of_ours_without_its_scheme_is_explained(authorization: str) -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer <key>"):
        own_credentials(request_of(authorization=authorization))


def test_without_an_issuer_every_token_is_somebody_else_s(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": None}
    assert own_credentials(request_of(authorization=f"Bearer {token()}")) == ""


def test_each_text_is_there_once() -> None:
    assert bearer_texts(request_of(authorization=f"Bearer {KEY}", x_api_key=KEY)) == (KEY,)
