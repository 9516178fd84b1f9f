"""The audit: one line for each publication and each denial, in a logger of its own.

A line has the name of an event and fields, `publish.accepted by=key:ab12cd34 events=3 …`. The
record has the same fields as `fields`, for logs in JSON. Published data is in neither.
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

MAX_VALUES_IN_LINE = 10
UNKNOWN = "unknown"
# A value that needs no quotes: it cannot be mistaken for another field.
_UNQUOTED = re.compile(r"[\w.:/@+-]+", re.ASCII)

type Field = str | int | Sequence[str]


class Attempt:
    """A request to publish or to subscribe, whose outcome is logged once."""

    def __init__(self, request: HttpRequest, verb: str) -> None:
        self._request = request
        self._verb = verb
        self.by = UNKNOWN
        self.topics: Sequence[str] = ()
        self.namespace = ""

    def accepted(self, *, level: int = logging.INFO, **fields: Field) -> None:
        self._log(level, "accepted", **fields)

    def denied(self, error: Forbidden | Unauthenticated) -> None:
        self._log(logging.WARNING, "denied", reason=error.code, detail=error.detail)

    def _log(self, level: int, outcome: str, **fields: Field) -> None:
        if not logger.isEnabledFor(level):
            return
        ordered: dict[str, Field] = {
            "by": self.by,
            **({"namespace": self.namespace} if self.namespace else {}),
            **fields,
            "topics": self.topics,
            "request": request_id(self._request),
        }
        log_event(level, f"{self._verb}.{outcome}", **ordered)


@contextmanager
def attempt(request: HttpRequest, verb: str) -> Iterator[Attempt]:
    """Log a denial that is raised in the block, and raise it further."""
    attempted = Attempt(request, verb)
    try:
        yield attempted
    except (Forbidden, Unauthenticated) as error:
        attempted.denied(error)
        raise


def log_event(level: int, event: str, **fields: Field) -> None:
    """Log one line, of which no part can be mistaken for another, whatever names clients chose."""
    if not logger.isEnabledFor(level):
        return
    clean = {name: _clean(value) for name, value in fields.items()}
    line = " ".join([event, *(f"{name}={_text(value)}" for name, value in clean.items())])
    logger.log(level, "%s", line, extra={"event": event, "fields": clean})


def _clean(value: Field) -> Field:
    if isinstance(value, int):
        return value
    return redacted(value) if isinstance(value, str) else [redacted(item) for item in value]


def _text(value: Field) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value if _UNQUOTED.fullmatch(value) else json.dumps(value)
    text = ",".join(map(_text, value[:MAX_VALUES_IN_LINE]))
    omitted = len(value) - MAX_VALUES_IN_LINE
    return f"{text},+{omitted}" if omitted > 0 else text
