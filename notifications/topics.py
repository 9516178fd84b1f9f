"""Topics: what one can subscribe to and publish under."""

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
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class HasPk(Protocol):
    """A user, as far as topics are concerned."""

    @property
    def pk(self) -> object: ...


def topic(value: object) -> Topic:
    """The value as a topic. Raises `Invalid`, saying which rule it breaks."""
    if not isinstance(value, str):
        raise Invalid(f"A topic is text, not {type(value).__name__}.", field="topic")
    return _checked(value)


@lru_cache(maxsize=4096)  # the same few are published to over and over
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


def topics(values: Iterable[object]) -> tuple[Topic, ...]:
    """The values as 1–100 topics, each once, in the order given. Raises `Invalid`."""
    unique = tuple(dict.fromkeys(map(topic, values)))
    if not unique:
        raise Invalid("At least one topic is needed.", field="topic")
    if len(unique) > MAX_TOPICS:
        raise Invalid(
            f"At most {MAX_TOPICS} topics go together; these are {len(unique)}.", field="topic"
        )
    return unique


def user_topic(user: HasPk) -> Topic:
    """The topic that a user may always subscribe to, and nobody else."""
    if user.pk is None:
        raise Invalid("A user has a topic of their own only once they are saved.", field="topic")
    return topic(f"user.{user.pk}")


def covers(prefix: str, value: str) -> bool:
    """Whether `news` covers `news` and `news.…`, and `demo.` covers `demo.…`."""
    return value.startswith(prefix if prefix.endswith(".") else prefix + ".") or value == prefix


MAX_PATTERNS = 100

_PIECE = re.compile(r"\{([a-z_][a-z0-9_]*)\}|(\*)|([^.{}*]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A topic pattern: what rules, keys and tokens are about. Raises `Invalid` for bad syntax.

    Segments are separated by dots. `*` matches any one segment, and `{name}` captures one. A
    pattern also covers the topics below it: `orders.{pk}` covers `orders.42` and `orders.42.items`.
    A pattern that ends with a dot covers only the topics below it. `*` alone covers every topic.
    """

    text: str
    _form: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        topic(self.text)
        beneath = self.text.endswith(".")
        names: set[str] = set()
        pieces = [self._piece(each, names) for each in self.text.removesuffix(".").split(".")]
        end = r"\..*" if beneath else r"(?:\..*)?"
        form = re.compile(r"\.".join(pieces) + end, re.DOTALL)
        object.__setattr__(self, "_form", form)

    def _piece(self, text: str, names: set[str]) -> str:
        piece = _PIECE.fullmatch(text)
        if piece is None:
            raise Invalid(
                f"The pattern {self.text!r} has the segment {text!r}: a segment is text, '*' or "
                "'{name}'.",
                field="pattern",
            )
        name, star, literal = piece.groups()
        if name is None:
            return r"[^.]*" if star else re.escape(literal)
        if name in names:
            raise Invalid(f"The pattern {self.text!r} has {{{name}}} twice.", field="pattern")
        names.add(name)
        return rf"(?P<{name}>[^.]+)"

    def match(self, topic: str) -> dict[str, str] | None:
        """What the pattern captures from a topic that it covers, None for any other."""
        found = self._form.fullmatch(topic)
        return None if found is None else found.groupdict()

    def covers(self, topic: str) -> bool:
        return self._form.fullmatch(topic) is not None

    def __str__(self) -> str:
        return self.text


def patterns(values: object) -> tuple[Pattern, ...]:
    """A list of texts as at most 100 patterns. Raises `Invalid`."""
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise Invalid("Patterns are a list of texts.", field="pattern")
    if len(values) > MAX_PATTERNS:
        raise Invalid(
            f"At most {MAX_PATTERNS} patterns go together; these are {len(values)}.",
            field="pattern",
        )
    return tuple(_pattern(each) for each in values)


# Keys and tokens bring the same ones with every request, and each costs a regular expression.
_pattern = lru_cache(maxsize=4096)(Pattern)
