"""Topics, and patterns of topics: what a client subscribes to and publishes under."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NewType, Protocol

from notifications.errors import Invalid

Topic = NewType("Topic", str)
"""1–255 bytes of UTF-8 without control characters. Case counts; nothing is normalised."""

MAX_TOPIC_BYTES = 255
NAMESPACE_END = "\x1f"
"""In the log, the end of the namespace that stands in front of a topic (`conf/namespace.py`). No
topic can have this character."""
MAX_TOPICS = 100
MAX_PATTERNS = 100
CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
"""The control characters, as a class of a regular expression in Python and in JavaScript."""
_CONTROL = re.compile(f"[{CONTROLS}]")
_QUOTED_CHARACTERS = re.compile(rf"[.~*{{}}{CONTROLS}]")
_QUOTED_IN_NAMES = re.compile(rf"[~{CONTROLS}]")
_QUOTED_BYTES = re.compile(r"(?:~[0-9A-F]{2})+", re.ASCII)
_SEGMENT = re.compile(r"\{([a-z_][a-z0-9_]*)\}|(\*)|([^.{}*]+)", re.ASCII)


class HasPk(Protocol):
    """The one attribute of a user that `user_topic` needs."""

    @property
    def pk(self) -> object: ...


def parse_topic(value: object) -> Topic:
    """The value as a topic. Raises `Invalid`, which names the broken rule."""
    if not isinstance(value, str):
        raise Invalid(f"A topic is text, not {type(value).__name__}.", field="topic")
    return _checked(value)[0]


@lru_cache(maxsize=4096)  # publishers use the same few topics over and over
def _checked(value: str) -> tuple[Topic]:
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
    return (Topic(value),)


def parse_topics(values: Iterable[object]) -> tuple[Topic, ...]:
    """The values as 1–100 topics, without duplicates, in their order. Raises `Invalid`."""
    if isinstance(values, tuple) and len(values) == 1 and isinstance(values[0], str):
        return _checked(values[0])  # most events have one topic
    unique = tuple(dict.fromkeys(map(parse_topic, values)))
    if not unique:
        raise Invalid("At least one topic is needed.", field="topic")
    if len(unique) > MAX_TOPICS:
        raise Invalid(
            f"At most {MAX_TOPICS} topics go together; these are {len(unique)}.", field="topic"
        )
    return unique


def topic_segment(value: object) -> str:
    """The value as one segment of a topic: `f"orders.{topic_segment(order.slug)}"`.

    Different values have different segments. A character that separates segments or has a meaning
    in patterns, a control character and `~` become `~` and two hexadecimal digits for each of their
    bytes: `john.doe` becomes `john~2Edoe`. Integers and UUIDs stay as they are. The escape is not
    `%`, because a URL that is written by hand would lose it. Raises `Invalid` for None, and for an
    empty value, which no segment can stand for.
    """
    text = "" if value is None else str(value)
    if not text:
        raise Invalid("An empty value cannot be a segment of a topic.", field="topic")
    return _QUOTED_CHARACTERS.sub(_quoted, text)


def _quoted(match: re.Match[str]) -> str:
    return "".join(f"~{byte:02X}" for byte in match[0].encode())


def one_line_name(value: object) -> str:
    """The value as a name for logs and control entries, which has no control character.

    Different values have different names, and a dot stays readable.
    """
    return _QUOTED_IN_NAMES.sub(_quoted, str(value))


def parse_segment(segment: str) -> str | None:
    """The text that `topic_segment` made this segment of, or None if it made no such segment.

    Another spelling of the same text would be another topic, so it means nothing.
    """
    try:
        text = _QUOTED_BYTES.sub(_unquoted, segment)
    except UnicodeDecodeError:
        return None
    return text if text and topic_segment(text) == segment else None


def _unquoted(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("~", "")).decode()


def user_topic(user: HasPk) -> Topic:
    """The topic of this user alone: the default rules let nobody else subscribe to it.

    Raises `Invalid` for a user without a primary key, or with one too long for a topic.
    """
    if user.pk is None:
        raise Invalid("A user has a topic of their own only once they are saved.", field="topic")
    return parse_topic(f"user.{topic_segment(user.pk)}")


def bare_topic(topic: str) -> str:
    """A topic of the log as applications and clients know it, without its namespace."""
    return topic.rpartition(NAMESPACE_END)[2]


def covers(prefix: str, value: str) -> bool:
    """Whether a prefix covers a topic.

    `news` covers `news` and `news.…`. `demo.` covers `demo.…`, and not `demo`.
    """
    return value.startswith(prefix if prefix.endswith(".") else prefix + ".") or value == prefix


def example_topic(patterns: Sequence[str]) -> Topic | None:
    """The topic that examples name: one that the first of these patterns covers."""
    for pattern in patterns:
        # The segment after a final dot is empty.
        segments = (
            part if part[:1] not in ("", "*", "{") else "hello" for part in pattern.split(".")
        )
        return Topic(".".join(segments))
    return None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A topic pattern, as rules, API keys and tokens use it. Raises `Invalid` for bad syntax.

    Segments are separated by dots. `*` matches any one segment, and `{name}` captures the text that
    `topic_segment` made one of. A pattern also covers the topics below it: `orders.{pk}` covers
    `orders.42` and `orders.42.items`. A pattern that ends with a dot covers only the topics below
    it. `*` alone covers every topic.
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
        """What the pattern captures from a topic, as it was before it became segments.

        None if the pattern does not cover the topic.
        """
        match = self._regex.fullmatch(topic)
        if match is None:
            return None
        captured: dict[str, str] = {}
        for name, segment in match.groupdict().items():
            if (text := parse_segment(segment)) is None:
                return None
            captured[name] = text
        return captured

    def covers(self, topic: str) -> bool:
        return self.match(topic) is not None

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
