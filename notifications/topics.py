"""Topics: what one can subscribe to and publish under."""

import re
from collections.abc import Iterable
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
