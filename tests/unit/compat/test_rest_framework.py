"""When a token expires, and what an error says."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework.exceptions import APIException, ValidationError
from rest_framework_simplejwt.exceptions import InvalidToken

from notifications.compat.rest_framework import EventStreamMixin, _expiry_of, _text_of

NOW = datetime(2026, 11, 28, tzinfo=UTC)
EXP = 1_795_900_000


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (SimpleNamespace(expiry=NOW), NOW),  # knox
        (SimpleNamespace(expiry=None), None),
        (SimpleNamespace(payload={"exp": EXP}), EXP),  # simplejwt
        ({"exp": EXP}, EXP),
        ({"exp": "soon"}, None),
        (SimpleNamespace(payload={}), None),
        ("text", None),
        (None, None),
    ],
)
def test_the_expiry_of_a_token(auth: Any, expected: Any) -> None:
    assert _expiry_of(auth) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidToken({"messages": ["no"]}), "Token is invalid or expired"),
        (ValidationError({"name": ["Too long."]}), '{"name":["Too long."]}'),
        (ValidationError("Too long."), '["Too long."]'),
        (APIException("Broken."), "Broken."),
    ],
)
def test_the_text_of_an_error_has_no_python_in_it(error: APIException, expected: str) -> None:
    assert _text_of(error.detail) == expected


async def test_an_async_view_learns_what_to_await() -> None:
    with pytest.raises(TypeError, match="astream"):
        EventStreamMixin().grant("orders.1")
