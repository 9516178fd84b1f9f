"""Translation between django-eventstream's event ids, event types and users, and our own.

An event id is written `channel:number,channel:number`. A number is made of a position in the log
and a tag of the log's epoch. The numbers of a channel grow, but not without gaps, because one
position serves the events of all channels.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote
from zlib import crc32

from notifications.events import RESERVED_PREFIX, RESERVED_TYPES
from notifications.hub.grants import user_subject
from notifications.log.cursors import START, Cursor, Position, make_position, position_ms

_COUNTER_BITS = 32
_EPOCH_BITS = 32
_NUMBER = re.compile(r"[0-9]{1,40}", re.ASCII)
_NOT_ONE_LINE = re.compile(r"[\r\n\0]")
_ESCAPE = "eventstream:"

ANONYMOUS = "anonymous"
"""The subject of anonymous visitors, who are no user and have no quota."""


# Event ids


def to_number(at: Cursor) -> int:
    ms = position_ms(at.position)
    counter = at.position - make_position(ms)
    return (ms << _COUNTER_BITS | counter) << _EPOCH_BITS | _epoch_tag(at.epoch)


def from_number(text: str, epoch: str) -> Cursor | None:
    """The cursor in this epoch, or None. The number 0 means before all events, as it always did."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    if not number:
        return Cursor(epoch, START)
    position, tag = number >> _EPOCH_BITS, number & ((1 << _EPOCH_BITS) - 1)
    if tag != _epoch_tag(epoch):
        return None
    ms, counter = position >> _COUNTER_BITS, position & ((1 << _COUNTER_BITS) - 1)
    return Cursor(epoch, make_position(ms, counter))


@lru_cache(maxsize=8)
def _epoch_tag(epoch: str) -> int:
    """Tells positions of this epoch from positions of earlier ones."""
    return crc32(epoch.encode())


def parse_id(text: str) -> dict[str, str]:
    """The number of each channel, unchecked. Raises `ValueError`."""
    numbers = {}
    for part in text.split(","):
        channel, number = part.split(":")
        numbers[unquote(channel)] = number
    return numbers


def id_prefix(channel: str) -> bytes:
    return quote(channel).encode() + b":"


def format_id(prefixes: tuple[bytes, ...], at: Cursor, since: Mapping[bytes, Position]) -> bytes:
    """The id of an event: how far each channel has been sent.

    `since`: for each channel of which the client already has some events, the first position that
    it still needs.
    """
    if since:
        positions = (max(at.position, since.get(prefix, START) - 1) for prefix in prefixes)
        numbers = [b"%d" % to_number(Cursor(at.epoch, Position(value))) for value in positions]
        return b",".join(map(bytes.__add__, prefixes, numbers))
    digits = b"%d" % to_number(at)
    return b",".join([prefix + digits for prefix in prefixes])


# Event types: `send_event` accepts any type, but the log reserves some for the service itself.


def to_log_type(event_type: object) -> str | None:
    text = _NOT_ONE_LINE.sub("", str(event_type))
    if text in RESERVED_TYPES or text.startswith((RESERVED_PREFIX, _ESCAPE)):
        return _ESCAPE + text
    return text or None


def from_log_type(log_type: bytes | None) -> bytes:
    """The type for clients of django-eventstream."""
    return log_type.removeprefix(_ESCAPE.encode()) if log_type else b"message"


# Users


def subjects(user_id: object) -> tuple[str, ...]:
    """The subjects that a `user_id` of django-eventstream names.

    Its name for all anonymous visitors may also be the primary key of one user.
    """
    user = user_subject(user_id)
    return (ANONYMOUS, user) if user_id == ANONYMOUS else (user,)
