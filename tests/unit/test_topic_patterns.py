"""Topic patterns: the topics that they cover, the segments that they capture, their syntax."""

import pytest

from notifications.errors import Invalid
from notifications.topics import Pattern


@pytest.mark.parametrize(
    ("pattern", "topic", "captured"),
    [
        ("news", "news", {}),
        ("news", "news.sport", {}),
        ("news", "newspaper", None),
        ("news", "old.news", None),
        ("demo.", "demo.x", {}),
        ("demo.", "demo", None),
        ("orders.{pk}", "orders.42", {"pk": "42"}),
        ("orders.{pk}", "orders.42.items", {"pk": "42"}),
        ("orders.{pk}", "orders", None),
        ("orders.{pk}", "orders.", None),
        ("orders.{pk}.", "orders.42", None),
        ("orders.{pk}.", "orders.42.items", {"pk": "42"}),
        ("{shop}.orders.{pk}", "a.orders.b", {"shop": "a", "pk": "b"}),
        ("orders.{pk}", "orders.a~2Eb.items", {"pk": "a.b"}),
        ("orders.{pk}", "orders.a~2eb", None),
        ("orders.{pk}", "orders.*", None),
        ("orders.*", "orders.a~2eb", {}),
        ("*.status", "build.status", {}),
        ("*.status", "build.log", None),
        ("*", "anything.at.all", {}),
        ("*", ".", {}),
        ("*", "two\u00a0words", {}),
        ("a+b", "a+b", {}),
        ("a+b", "aab", None),
    ],
)
def test_a_pattern_covers_the_topics_below_it(
    pattern: str, topic: str, captured: dict[str, str] | None
) -> None:
    assert Pattern(pattern).match(topic) == captured
    assert Pattern(pattern).covers(topic) is (captured is not None)


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", "a.*b", "a.{}", "a.{PK}", "a.{b}c", "{a}.{a}", "a\n", "x" * 256, "{a"]
)
def test_an_invalid_pattern_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Pattern(text)


def test_a_pattern_is_shown_as_it_was_written() -> None:
    assert str(Pattern("orders.{pk}")) == "orders.{pk}"
