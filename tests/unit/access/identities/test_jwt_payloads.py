"""Bearer tokens of arbitrary text and content: each gives an identity or is refused."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.jwt import authenticate_token
from notifications.errors import Unauthenticated
from tests.harness.tokens import claims, forge_token, jwt_setting

HEADER = {"alg": "HS256", "typ": "JWT", "kid": "main"}


@pytest.fixture(autouse=True)
def tokens_are_accepted(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "JWT": jwt_setting()}


INVALID_TIMES: list[Any] = [[], {}, "soon", True, -1, 10**400]
INVALID_AUDIENCES: list[Any] = [5, {}, [5], "", []]
SENSELESS_PAYLOADS: list[Any] = [
    *([], "text", None, 1, b"", b"\xff", b"{", b"[" * 4_000, b'{"a":' * 900),
    *({**claims(), "exp": value} for value in INVALID_TIMES),
    *({**claims(), "nbf": value} for value in INVALID_TIMES[:3]),
    *({**claims(), "aud": value} for value in INVALID_AUDIENCES),
    *(json.dumps(claims(exp=0)).replace("0", text, 1).encode() for text in ("1e999", "NaN")),
]


@pytest.mark.parametrize("payload", SENSELESS_PAYLOADS)
async def test_a_senseless_payload_is_refused(payload: Any) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate_token(forge_token(HEADER, payload))
    assert caught.value.extensions == {}


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
        async_to_sync(authenticate_token)(text)


@fuzz
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), json_values),
    st.dictionaries(
        st.sampled_from(["exp", "aud", "iss", "sub", "jti", "nbf", "iat", "carillon"]), json_values
    ),
)
def test_any_signed_claims_give_an_identity_or_are_refused(
    header: dict[str, Any], changes: dict[str, Any]
) -> None:
    for head, body in (({**HEADER, **header}, claims()), (HEADER, {**claims(), **changes})):
        try:
            identity = async_to_sync(authenticate_token)(forge_token(head, body))
        except Unauthenticated:
            continue
        assert identity.scope is not None
        assert identity.until is not None
