"""Event types: `send_event` takes any, and in the log some of them are the service's own."""

import re

from notifications.events import RESERVED_PREFIX, RESERVED_TYPES

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
