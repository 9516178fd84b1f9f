"""Positions and cursors."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import Invalid
from notifications.log.cursors import (
    Cursor,
    Position,
    format_position,
    make_position,
    parse_position,
    position_ms,
)

PARTS = st.tuples(st.integers(0, 10**13), st.integers(0, 2**64 - 1))


@given(PARTS)
def test_a_position_survives_its_text(parts: tuple[int, int]) -> None:
    ms, n = parts
    text = format_position(make_position(ms, n))
    assert text == f"{ms}-{n}"
    assert parse_position(text.encode()) == make_position(ms, n)
    assert position_ms(make_position(ms, n)) == ms


@given(PARTS, PARTS)
def test_positions_have_the_order_of_the_log(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert (make_position(*a) < make_position(*b)) is (a < b)


@given(PARTS)
def test_a_cursor_survives_its_text(parts: tuple[int, int]) -> None:
    cursor = Cursor("0123456789ab", make_position(*parts))
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error",
        "1",
        "1.0123456789ab",
        "1.0123456789ab.",
        "1.0123456789ab.1",
        "1.0123456789ab.1-",
        "1.0123456789ab.-1-0",
        "1.0123456789ab.1-0 ",
        "1.0123456789ab.1-0\n",
        "2.0123456789ab.1-0",
        "1.0123456789AB.1-0",
        "1.short.1-0",
        "1.0123456789ab.١-0",
        f"1.0123456789ab.1-{2**64}",
        "1.0123456789ab." + "9" * 5000 + "-0",
    ],
)
def test_a_text_that_no_cursor_has_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Cursor.parse(text)


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(Invalid):
        assert str(Cursor.parse(text)) == text


def test_a_cursor_can_be_an_sse_id_a_header_and_a_query_as_it_is() -> None:
    text = str(Cursor("0123456789ab", Position(2**80)))
    assert text.replace(".", "").replace("-", "").isalnum()
