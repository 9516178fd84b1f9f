"""What can be a topic, and what a prefix covers."""

import pytest
from django.contrib.auth.models import AnonymousUser, User
from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import Invalid
from notifications.topics import MAX_TOPIC_BYTES, covers, topic, topics, user_topic


@pytest.mark.parametrize("value", ["a", "orders.42", "ünïcødé", "with space", "a" * 255, "é" * 127])
def test_a_topic_is_any_short_text(value: str) -> None:
    assert topic(value) == value


@pytest.mark.parametrize(
    "value",
    ["", "a" * 256, "é" * 128, "a\nb", "a\rb", "a\0b", "\x7f", "\x85", "\u2028", "\ud800", 7, None],
)
def test_what_cannot_be_a_topic_is_refused_with_the_field_at_fault(value: object) -> None:
    with pytest.raises(Invalid) as caught:
        topic(value)
    assert caught.value.extensions == {"field": "topic"}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029")))
def test_only_length_bounds_text_without_control_characters(value: str) -> None:
    if 0 < len(value.encode()) <= MAX_TOPIC_BYTES:
        assert topic(value) == value
    else:
        with pytest.raises(Invalid):
            topic(value)


def test_case_counts_and_nothing_is_normalised() -> None:
    assert topics(["News", "news", "e\u0301", "é"]) == ("News", "news", "e\u0301", "é")


def test_a_topic_asked_for_twice_is_one() -> None:
    assert topics(["b", "a", "b"]) == ("b", "a")


@pytest.mark.parametrize("count", [0, 101])
def test_topics_are_1_to_100(count: int) -> None:
    assert len(topics(f"t{i}" for i in range(100))) == 100
    with pytest.raises(Invalid):
        topics(f"t{i}" for i in range(count))


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
    for nobody in (User(), AnonymousUser()):
        with pytest.raises(Invalid, match="saved"):
            user_topic(nobody)
