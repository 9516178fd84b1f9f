"""The audit: who published what where, and who was denied, one line each in a logger of its own.

A line is the name of what happened and fields, `publish.accepted by=key:ab12cd34 events=3 …`; the
same fields are in the record as `fields`, for those who log JSON. What was published is in none.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.http import HttpRequest

from notifications.errors import Forbidden, Unauthenticated
from notifications.telemetry.logs import request_id
from notifications.telemetry.redaction import redacted

logger = logging.getLogger("carillon.audit")

MAX_NAMED = 10
UNKNOWN = "unknown"
# What can stand in a line as it is, and be taken for nothing else.
_PLAIN = re.compile(r"[\w.:/@+-]+", re.ASCII)

type Field = str | int | Sequence[str]


class Attempt:
    """Somebody publishes or subscribes; what becomes of it is told once."""

    def __init__(self, request: HttpRequest, verb: str) -> None:
        self._request = request
        self._verb = verb
        self.by = UNKNOWN
        self.topics: Sequence[str] = ()

    def accepted(self, *, level: int = logging.INFO, **fields: Field) -> None:
        self._tell(level, "accepted", **fields)

    def denied(self, error: Forbidden | Unauthenticated) -> None:
        self._tell(logging.WARNING, "denied", reason=error.code, detail=error.detail)

    def _tell(self, level: int, outcome: str, **more: Field) -> None:
        if not logger.isEnabledFor(level):
            return
        fields: dict[str, Field] = {
            "by": self.by,
            **more,
            "topics": self.topics,
            "request": request_id(self._request),
        }
        tell(level, f"{self._verb}.{outcome}", **fields)


@contextmanager
def attempt(request: HttpRequest, verb: str) -> Iterator[Attempt]:
    """Tells of whoever is denied in its block, and lets the error through."""
    attempted = Attempt(request, verb)
    try:
        yield attempted
    except (Forbidden, Unauthenticated) as error:
        attempted.denied(error)
        raise


def tell(level: int, event: str, **fields: Field) -> None:
    """One line, of which no part can be taken for another, whatever publishers named things."""
    if not logger.isEnabledFor(level):
        return
    clean = {name: _clean(value) for name, value in fields.items()}
    line = " ".join([event, *(f"{name}={_text(value)}" for name, value in clean.items())])
    logger.log(level, "%s", line, extra={"event": event, "fields": clean})


def _clean(value: Field) -> Field:
    if isinstance(value, int):
        return value
    return redacted(value) if isinstance(value, str) else [redacted(each) for each in value]


def _text(value: Field) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    named = ",".join(map(_text, value[:MAX_NAMED]))
    return named if len(value) <= MAX_NAMED else f"{named},+{len(value) - MAX_NAMED}"
