"""Events: data that is published to topics. An event that could break the stream cannot exist."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

from django.core.serializers.json import DjangoJSONEncoder

from notifications.errors import Invalid
from notifications.topics import parse_topics

MAX_NAME_BYTES = 255
MIN_RETRY_MS, MAX_RETRY_MS = 500, 24 * 60 * 60 * 1000
RESERVED_PREFIX = "stream."
RESERVED_TYPES = frozenset({"open", "error"})
_NOT_ONE_LINE = re.compile(r"[\r\n\0]")
_ELEMENTS = re.compile(r"[#.][A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_compact = DjangoJSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


LARGE_BATCH = 16
"""How many ids are made faster together than one by one."""
_ID = b"urn:uuid:00000000-0000-4000-v000-000000000000"
_DIGITS = [offset for offset, byte in enumerate(_ID) if byte == ord("0")]
_VARIANT = _ID.index(b"v")
_VARIANTS = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)


def _random_id() -> str:
    """A random UUID (RFC 9562 §5.4), at a quarter of what `uuid.uuid4` costs."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return (
        f"urn:uuid:{digits[:8]}-{digits[8:12]}-4{digits[13:16]}"
        f"-{variant}{digits[17:20]}-{digits[20:]}"
    )


def new_ids(count: int) -> list[str]:
    """So many random UUIDs. In a large batch, each digit is put into all of them at once."""
    if count < LARGE_BATCH:
        return [_random_id() for _ in range(count)]
    digits = os.urandom(16 * count).hex().encode()
    ids = bytearray(_ID * count)
    for number, offset in enumerate(_DIGITS):
        ids[offset :: len(_ID)] = digits[number::32]
    ids[_VARIANT :: len(_ID)] = digits[len(_DIGITS) :: 32].translate(_VARIANTS)
    text = ids.decode()
    return [text[start : start + len(_ID)] for start in range(0, len(text), len(_ID))]


class SwapMode(StrEnum):
    """What HTML does to its target: become its content, replace it, come in or beside it, or remove
    it."""

    INNER = "inner"
    OUTER = "outer"
    APPEND = "append"
    PREPEND = "prepend"
    BEFORE = "before"
    AFTER = "after"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Swap:
    """Where in a page the HTML of an event goes. An event that has one is marked as HTML.

    `target` is `#id` or `.class`, which htmx, Turbo and Datastar all find; without either sign it
    is an id. Raises `Invalid`.
    """

    target: str
    mode: str = SwapMode.INNER

    def __post_init__(self) -> None:
        target = self.target if self.target.startswith(("#", ".")) else f"#{self.target}"
        if not _ELEMENTS.fullmatch(target) or len(target) > MAX_NAME_BYTES:
            raise Invalid(
                f"target is the id of an element, or .class: {self.target!r} has other characters "
                "than letters, digits, '-' and '_'.",
                field="target",
            )
        if self.mode not in SwapMode:
            raise Invalid(f"swap is one of: {', '.join(SwapMode)}.", field="swap")
        object.__setattr__(self, "target", target)

    def __str__(self) -> str:
        """As the log has it."""
        return f"{self.mode} {self.target}"

    @classmethod
    def parse(cls, text: str) -> "Swap":
        """Raises `Invalid`."""
        mode, _, target = text.partition(" ")
        return cls(target, mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Data for everyone subscribed to one of its topics.

    `data` is text, which is sent as it is, or any value that `DjangoJSONEncoder` can encode, which
    is sent as compact JSON. Browsers dispatch the event to the listeners of its `type`; without a
    `type`, to `onmessage`. `id` only names the event: order and de-duplication never depend on it.
    `retry` (milliseconds) sets how long the browsers that receive the event wait before they
    reconnect. A `swap` marks `data` as HTML for the pages of everybody who subscribes. `cursor` is
    set once the log has the event. Raises `Invalid`.
    """

    topics: Sequence[str]
    data: Any
    type: str | None = None
    id: str = field(default_factory=_random_id)
    retry: int | None = None
    swap: Swap | None = None
    cursor: str | None = None
    encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        topics = (self.topics,) if isinstance(self.topics, str) else self.topics
        object.__setattr__(self, "topics", parse_topics(topics))
        object.__setattr__(self, "encoded", _encode(self.data))
        _check_name("id", self.id)
        if self.type is not None:
            _check_type(self.type)
        if self.retry is not None:
            _check_retry(self.retry)
        if self.swap is not None and not self.is_text:
            raise Invalid("HTML is text.", field="data")

    @classmethod
    def with_new_id(
        cls, id: str, topics: Sequence[str], data: Any, type: str | None, retry: int | None
    ) -> "Event":
        """As the constructor, with one of `new_ids`, and at a third of its cost: for batches."""
        event = object.__new__(cls)
        _SET_TOPICS(event, parse_topics(topics))
        _SET_DATA(event, data)
        _SET_ENCODED(event, _encode(data))
        if type is not None:
            _check_known_type(type)
        if retry is not None:
            _check_retry(retry)
        _SET_TYPE(event, type)
        _SET_ID(event, id)
        _SET_RETRY(event, retry)
        _SET_SWAP(event, None)
        _SET_CURSOR(event, None)
        return event

    @property
    def is_text(self) -> bool:
        return isinstance(self.data, str)

    def acknowledged(self, id: str, cursor: str) -> Self:
        """The event as the log has it. Its content is not checked and encoded once more."""
        event = object.__new__(type(self))
        for each in fields(self):
            object.__setattr__(event, each.name, getattr(self, each.name))
        object.__setattr__(event, "id", id)
        object.__setattr__(event, "cursor", cursor)
        return event


# A frozen class has no cheaper way to set its slots.
_SET_TOPICS, _SET_DATA, _SET_TYPE, _SET_ID, _SET_RETRY, _SET_SWAP, _SET_CURSOR, _SET_ENCODED = (
    getattr(Event, each.name).__set__ for each in fields(Event)
)


class Json(bytes):
    """Data that is JSON already, on one line: an event does not encode it once more."""


def compact_json(value: Any) -> str:
    """One line of JSON. Raises `ValueError` or `TypeError` for a value that JSON cannot hold."""
    return _compact.encode(value)


def _encode(data: Any) -> bytes:
    if isinstance(data, Json):
        return data
    try:
        return (data if isinstance(data, str) else compact_json(data)).encode()
    except UnicodeEncodeError:
        raise Invalid(
            "data has a lone surrogate, which UTF-8 cannot carry.", field="data"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"data cannot be written as JSON: {error}.", field="data") from None


def _check_name(name: str, value: str) -> None:
    if not value:
        raise Invalid(f"{name} cannot be empty: leave it out instead.", field=name)
    if _NOT_ONE_LINE.search(value):
        raise Invalid(f"{name} cannot have a line break or NUL: it is one line.", field=name)
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{name} is not valid Unicode.", field=name) from None
    if size > MAX_NAME_BYTES:
        raise Invalid(f"{name} has at most {MAX_NAME_BYTES} bytes; this has {size}.", field=name)


def _check_retry(value: int) -> None:
    if not MIN_RETRY_MS <= value <= MAX_RETRY_MS:
        raise Invalid(
            f"retry is milliseconds, from {MIN_RETRY_MS} to {MAX_RETRY_MS}.", field="retry"
        )


def _check_type(value: str) -> None:
    _check_name("type", value)
    if value.startswith(RESERVED_PREFIX):
        raise Invalid(
            f"Types that begin with {RESERVED_PREFIX!r} are the service's own.", field="type"
        )
    if value in RESERVED_TYPES:
        raise Invalid(f"Browsers take the type {value!r} for a signal of their own.", field="type")


# A batch has the same few types over and over.
_check_known_type = lru_cache(maxsize=1024)(_check_type)
