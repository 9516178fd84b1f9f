"""Event ids as django-eventstream writes them: `channel:id,channel:id`, each id an integer.

An integer is made from a place in the log, and from the epoch that it is a place in. They grow, and
are not gapless: the place of a channel's next event depends on those of all others.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote
from zlib import crc32

from notifications.events import RESERVED_PREFIX, RESERVED_TYPES
from notifications.hub.grants import user_subject
from notifications.log.cursors import START, Cursor, Position, position, position_ms

_COUNTER_BITS = 32
_EPOCH_BITS = 32
_NUMBER = re.compile(r"[0-9]{1,40}", re.ASCII)


def number(at: Cursor) -> int:
    counter = at.position - position(position_ms(at.position))
    place = position_ms(at.position) << _COUNTER_BITS | counter
    return place << _EPOCH_BITS | _tag(at.epoch)


def cursor(text: str, epoch: str) -> Cursor | None:
    """The place in this epoch; None where there is none. 0 is before everything, as ever."""
    if not _NUMBER.fullmatch(text):
        return None
    given = int(text)
    if not given:
        return Cursor(epoch, START)
    place, tag = given >> _EPOCH_BITS, given & ((1 << _EPOCH_BITS) - 1)
    if tag != _tag(epoch):
        return None
    ms, counter = place >> _COUNTER_BITS, place & ((1 << _COUNTER_BITS) - 1)
    return Cursor(epoch, position(ms, counter))


@lru_cache(maxsize=8)
def _tag(epoch: str) -> int:
    """What tells a place of this epoch from that of one before it."""
    return crc32(epoch.encode())


def parse(text: str) -> dict[str, str]:
    """The id of each channel. Raises `ValueError`."""
    last_ids = {}
    for part in text.split(","):
        channel, last_id = part.split(":")
        last_ids[unquote(channel)] = last_id
    return last_ids


def name(channel: str) -> bytes:
    return quote(channel).encode() + b":"


def together(names: tuple[bytes, ...], at: Cursor, since: Mapping[bytes, Position]) -> bytes:
    """The id of an event: what was handed over of each channel, by their names.

    `since`: channels of which nothing before a place is handed over, since the client has it.
    """
    if since:
        places = (max(at.position, since.get(name, START) - 1) for name in names)
        numbers = [b"%d" % number(Cursor(at.epoch, Position(place))) for place in places]
        return b",".join(map(bytes.__add__, names, numbers))
    digits = b"%d" % number(at)
    return b",".join([name + digits for name in names])


# Event types: `send_event` takes any, and in the log some of them are the service's own.


ESCAPE = "eventstream:"
_NOT_ONE_LINE = re.compile(r"[\r\n\0]")


def kept(given: object) -> str | None:
    """The type in the log of what is sent under this one."""
    text = _NOT_ONE_LINE.sub("", str(given))
    if text in RESERVED_TYPES or text.startswith((RESERVED_PREFIX, ESCAPE)):
        return ESCAPE + text
    return text or None


def heard(type: bytes | None) -> bytes:
    """The type under which clients of django-eventstream hear it."""
    return type.removeprefix(ESCAPE.encode()) if type else b"message"


# Subjects: users as django-eventstream names them, under the names that they have with us.


ANONYMOUS = "anonymous"


def subject(user_id: object) -> str:
    """All who did not log in have one, which is no user's: it has no quota."""
    return ANONYMOUS if user_id == ANONYMOUS else user_subject(user_id)
