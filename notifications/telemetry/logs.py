"""The one form of a log line, and the ids of requests in logs.

A line is the name of a log event and fields, `log.away error="Connection refused"`. Its record has
both as attributes too, `event` and `fields`, for logs in JSON.
"""

import json
import logging
import re
import secrets
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import Any, override

from django.http import HttpRequest

from notifications.telemetry.redaction import (
    REDACTED,
    SECRET_PARAMETERS,
    RedactedText,
    redacted,
)

REQUEST_ID_HEADER = "X-Request-ID"
current_request_id: ContextVar[str | None] = ContextVar("carillon_request_id", default=None)
"""The id of the request that is being answered, for the records of the log."""

MAX_VALUES_IN_LINE = 10

_META_KEY = "carillon.request_id"
# One word without a quote, backslash or bracket, so that it cannot be mistaken in a line of a log.
_VALID_ID = re.compile(r"[\w.:/+=@-]{1,64}", re.ASCII)
# A value that needs no quotes: it cannot be mistaken for another field.
_UNQUOTED = re.compile(r"[\w.:/@+-]+", re.ASCII)

type Field = str | int | float | list[str]


def request_id(request: HttpRequest) -> str:
    """The id that the request came with, if it is safe in a log; else a random one.

    Proxies, logs and responses all name a request by this id.
    """
    known: str | None = request.META.get(_META_KEY)
    if known is None:
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        known = sent if _VALID_ID.fullmatch(sent) else secrets.token_hex(8)
        request.META[_META_KEY] = known
    return known


class EventLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs events with fields: `logger.warning("log.away", error=error)`.

    The message itself has the fields, because a site's own formatter may print nothing else. No
    part of a line can be mistaken for another, whatever names clients chose. A field that is None
    is left out. The `hint` is for people: what the event means, or what to do.
    """

    @override
    def log(
        self,
        level: int,
        msg: object,
        *args: object,
        exc_info: Any = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        hint: object = "",
        **fields: object,
    ) -> None:
        if not self.isEnabledFor(level):
            return
        assert not args, "A field is a keyword argument."
        clean = {name: _clean(name, value) for name, value in fields.items() if value is not None}
        text = RedactedText("".join(f" {name}={_text(value)}" for name, value in clean.items()))
        # The same for each record of an event: services such as Sentry group records by it.
        template = f"{msg}%s" + (f": {hint}".replace("%", "%%") if hint else "")
        self.logger.log(
            level,
            template,
            text,
            exc_info=exc_info,
            stack_info=stack_info,
            extra={**(extra or {}), "event": msg, "fields": clean},
            stacklevel=stacklevel + 1,
        )


def _clean(name: str, value: object) -> Field:
    if name in SECRET_PARAMETERS:
        return REDACTED
    if isinstance(value, str):
        return redacted(str(value))
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Collection) and not isinstance(value, bytes):
        return [redacted(str(item)) for item in value]
    return redacted(str(value))


def _text(value: Field) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, str):
        return value if _UNQUOTED.fullmatch(value) else json.dumps(value)
    if isinstance(value, list):
        text = ",".join(map(_text, value[:MAX_VALUES_IN_LINE]))
        omitted = len(value) - MAX_VALUES_IN_LINE
        return f"{text},+{omitted}" if omitted > 0 else text
    return str(value)


logger = EventLogger(logging.getLogger("carillon"))


class Structured(logging.Filter):
    """Adds `request_id` to every record, also to those of Django and of other libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True


class Briefly(logging.Filter):
    """Makes every record a warning without a traceback.

    For loggers of refusals that any client can cause: Django logs each request with a wrong host as
    an error.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
