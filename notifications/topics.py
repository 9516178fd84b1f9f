"""Topics, and patterns of topics: what a client subscribes to and publishes under."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NewType, Protocol

from notifications.errors import Invalid

Topic = NewType("Topic", str)
"""1–255 bytes of UTF-8 without control characters. Case counts; nothing is normalised."""

MAX_TOPIC_BYTES = 255
MAX_TOPICS = 100
MAX_PATTERNS = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SEGMENT = re.compile(r"\{([a-z_][a-z0-9_]*)\}|(\*)|([^.{}*]+)", re.ASCII)


class HasPk(Protocol):
    """The one attribute of a user that `user_topic` needs."""

    @property
    def pk(self) -> object: ...


def parse_topic(value: object) -> Topic:
    """The value as a topic. Raises `Invalid`, which names the broken rule."""
    if not isinstance(value, str):
        raise Invalid(f"A topic is text, not {type(value).__name__}.", field="topic")
    return _checked(value)


@lru_cache(maxsize=4096)  # publishers use the same few topics over and over
def _checked(value: str) -> Topic:
    if not value:
        raise Invalid("A topic cannot be empty.", field="topic")
    if _CONTROL.search(value):
        raise Invalid(f"The topic {value!r} has a control character.", field="topic")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise Invalid(f"The topic {value!r} is not valid Unicode.", field="topic") from None
    if size > MAX_TOPIC_BYTES:
        raise Invalid(
            f"A topic has at most {MAX_TOPIC_BYTES} bytes of UTF-8; this one has {size}.",
            field="topic",
        )
    return Topic(value)


def parse_topics(values: Iterable[object]) -> tuple[Topic, ...]:
    """The values as 1–100 topics, without duplicates, in their order. Raises `Invalid`."""
    unique = tuple(dict.fromkeys(map(parse_topic, values)))
    if not unique:
        raise Invalid("At least one topic is needed.", field="topic")
    if len(unique) > MAX_TOPICS:
        raise Invalid(
            f"At most {MAX_TOPICS} topics go together; these are {len(unique)}.", field="topic"
        )
    return unique


def user_topic(user: HasPk) -> Topic:
    """The topic of this user alone: the default rules let nobody else subscribe to it."""
    if user.pk is None:
        raise Invalid("A user has a topic of their own only once they are saved.", field="topic")
    return parse_topic(f"user.{user.pk}")


def covers(prefix: str, value: str) -> bool:
    """Whether a prefix covers a topic.

    `news` covers `news` and `news.…`. `demo.` covers `demo.…`, and not `demo`.
    """
    return value.startswith(prefix if prefix.endswith(".") else prefix + ".") or value == prefix


@dataclass(frozen=True, slots=True)
class Pattern:
    """A topic pattern, as rules, API keys and tokens use it. Raises `Invalid` for bad syntax.

    Segments are separated by dots. `*` matches any one segment, and `{name}` captures one. A
    pattern also covers the topics below it: `orders.{pk}` covers `orders.42` and `orders.42.items`.
    A pattern that ends with a dot covers only the topics below it. `*` alone covers every topic.
    """

    text: str
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parse_topic(self.text)
        only_below = self.text.endswith(".")
        names: set[str] = set()
        segments = self.text.removesuffix(".").split(".")
        end = r"\..*" if only_below else r"(?:\..*)?"
        body = r"\.".join(self._segment_regex(segment, names) for segment in segments)
        object.__setattr__(self, "_regex", re.compile(body + end, re.DOTALL))

    def _segment_regex(self, segment: str, names: set[str]) -> str:
        """A regular expression for one segment. Adds the name that it captures to `names`."""
        parts = _SEGMENT.fullmatch(segment)
        if parts is None:
            raise Invalid(
                f"The pattern {self.text!r} has the segment {segment!r}: a segment is text, '*' or "
                "'{name}'.",
                field="pattern",
            )
        name, star, literal = parts.groups()
        if name is None:
            return r"[^.]*" if star else re.escape(literal)
        if name in names:
            raise Invalid(f"The pattern {self.text!r} has {{{name}}} twice.", field="pattern")
        names.add(name)
        return rf"(?P<{name}>[^.]+)"

    def match(self, topic: str) -> dict[str, str] | None:
        """The segments that the pattern captures from a topic; None if it does not cover it."""
        match = self._regex.fullmatch(topic)
        return None if match is None else match.groupdict()

    def covers(self, topic: str) -> bool:
        return self._regex.fullmatch(topic) is not None

    def __str__(self) -> str:
        return self.text


def parse_patterns(values: object) -> tuple[Pattern, ...]:
    """A list of texts as at most 100 patterns. Raises `Invalid`."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise Invalid("Patterns are a list of texts.", field="pattern")
    if len(values) > MAX_PATTERNS:
        raise Invalid(
            f"At most {MAX_PATTERNS} patterns go together; these are {len(values)}.",
            field="pattern",
        )
    return tuple(_cached_pattern(value) for value in values)


# Keys and tokens bring the same patterns with every request, and each costs a regular expression.
_cached_pattern = lru_cache(maxsize=4096)(Pattern)
