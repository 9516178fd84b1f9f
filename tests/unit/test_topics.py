"""Topics: their syntax, and the topics that a prefix covers."""

import pytest
from django.contrib.auth.models import AnonymousUser, User
from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import Invalid
from notifications.topics import MAX_TOPIC_BYTES, covers, parse_topic, parse_topics, user_topic


@pytest.mark.parametrize("value", ["a", "orders.42", "ünïcødé", "with space", "a" * 255, "é" * 127])
def test_a_topic_is_any_short_text(value: str) -> None:
    assert parse_topic(value) == value


@pytest.mark.parametrize(
    "value",
    ["", "a" * 256, "é" * 128, "a\nb", "a\rb", "a\0b", "\x7f", "\x85", "\u2028", "\ud800", 7, None],
)
def test_an_invalid_topic_is_refused_and_the_error_names_the_field(value: object) -> None:
    with pytest.raises(Invalid) as caught:
        parse_topic(value)
    assert caught.value.extensions == {"field": "topic"}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029")))
def test_only_length_bounds_text_without_control_characters(value: str) -> None:
    if 0 < len(value.encode()) <= MAX_TOPIC_BYTES:
        assert parse_topic(value) == value
    else:
        with pytest.raises(Invalid):
            parse_topic(value)


def test_case_counts_and_nothing_is_normalised() -> None:
    assert parse_topics(["News", "news", "e\u0301", "é"]) == ("News", "news", "e\u0301", "é")


def test_duplicate_topics_are_dropped() -> None:
    assert parse_topics(["b", "a", "b"]) == ("b", "a")


@pytest.mark.parametrize("count", [0, 101])
def test_1_to_100_topics_go_together(count: int) -> None:
    assert len(parse_topics(f"t{i}" for i in range(100))) == 100
    with pytest.raises(Invalid):
        parse_topics(f"t{i}" for i in range(count))


@pytest.mark.parametrize(
    ("prefix", "value", "covered"),
    [
        ("news", "news", True),
        ("news", "news.sports", True),
        ("news", "newsletter", False),
        ("demo.", "demo.chat", True),
        ("demo.", "demo.", True),
        ("demo.", "demo", False),
        ("News", "news", False),
    ],
)
def test_a_prefix_ends_where_a_segment_does(prefix: str, value: str, *, covered: bool) -> None:
    assert covers(prefix, value) is covered


def test_a_user_has_a_topic_once_they_are_saved() -> None:
    assert user_topic(User(pk=7)) == "user.7"
    for user in (User(), AnonymousUser()):
        with pytest.raises(Invalid, match="saved"):
            user_topic(user)
