"""Topics: their syntax, and the topics that a prefix covers."""

import json
import re
import subprocess
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser, User
from hypothesis import given
from hypothesis import strategies as st
from playwright._impl._driver import compute_driver_executable

from notifications.errors import Invalid
from notifications.topics import (
    MAX_TOPIC_BYTES,
    Pattern,
    covers,
    example_topic,
    parse_segment,
    parse_topic,
    parse_topics,
    topic_segment,
    user_topic,
)
from tests.harness.servers import ROOT

DOCUMENTATION = (ROOT / "docs/use.md").read_text()


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


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        (42, "42"),
        (-1, "-1"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("ada_lovelace-1", "ada_lovelace-1"),
        ("john.doe", "john~2Edoe"),
        ("john@example.com", "john@example~2Ecom"),
        ("a%2Eb", "a%2Eb"),
        ("~", "~7E"),
        ("*", "~2A"),
        ("{pk}", "~7Bpk~7D"),
        ("a\n", "a~0A"),
        ("\x85", "~C2~85"),
        ("ünï", "ünï"),
    ],
)
def test_a_segment_quotes_only_what_would_change_the_topic(value: object, segment: str) -> None:
    assert topic_segment(value) == segment
    assert parse_segment(segment) == str(value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_text_has_one_segment_and_comes_back_from_it(text: str) -> None:
    segment = topic_segment(text)
    assert parse_segment(segment) == text
    assert Pattern("x.{name}").match(f"x.{segment}") == {"name": text}
    assert len(segment.encode()) > MAX_TOPIC_BYTES or parse_topic(segment) == segment


@given(st.text(st.sampled_from("~2EeC385A.*{}ab"), max_size=9))
def test_a_segment_means_something_in_one_spelling_alone(segment: str) -> None:
    text = parse_segment(segment)
    assert text is None or topic_segment(text) == segment


def test_the_function_in_the_documentation_makes_the_same_segments() -> None:
    node, _ = compute_driver_executable()  # Playwright has a Node.js of its own
    [function] = re.findall(r"^const topicSegment = .*?;$", DOCUMENTATION, re.MULTILINE | re.DOTALL)
    texts = [*map(chr, range(1, 0x180)), "\0", "\u2028", "\u2029", "john.doe", "😀.~", "42", "%2E"]
    program = f"{function}\nconsole.log(JSON.stringify({json.dumps(texts)}.map(topicSegment)))"
    run = subprocess.run([str(node), "-e", program], capture_output=True, check=True, timeout=60)
    assert json.loads(run.stdout) == [topic_segment(text) for text in texts]


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_value_is_no_segment(value: object) -> None:
    with pytest.raises(Invalid, match="empty"):
        topic_segment(value)


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("news", "news"),
        ("demo.", "demo.hello"),
        ("news.*", "news.hello"),
        ("*", "hello"),
        ("orders.{pk}.items", "orders.hello.items"),
    ],
)
def test_the_topic_of_the_examples_is_one_that_the_pattern_covers(pattern: str, topic: str) -> None:
    assert example_topic([pattern, "other"]) == topic
    assert Pattern(pattern).covers(topic)
