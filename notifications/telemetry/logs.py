"""Request ids, and filters that give records of the log fields for JSON.

Our lines are `name.of.event key=value …`, made of a template and its arguments. A filter can read
the event and the fields from these, so no line has to be written twice.
"""

import logging
import re
import secrets
from contextvars import ContextVar

from django.http import HttpRequest

REQUEST_ID_HEADER = "X-Request-ID"
current_request_id: ContextVar[str | None] = ContextVar("carillon_request_id", default=None)
"""The id of the request that is being answered, for the records of the log."""

_META_KEY = "carillon.request_id"
# One word without a quote, backslash or bracket, so that it cannot be mistaken in a line of a log.
_VALID_ID = re.compile(r"[\w.:/+=@-]{1,64}", re.ASCII)

_EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+(?=$|[ :])")
_FIELD = re.compile(r"(?:(\w+)=)?%[-+ #0]*(?:\d+|\*)?(?:\.\d+)?[a-zA-Z]")


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


class Structured(logging.Filter):
    """Adds `request_id` to every record, and `event` and `fields` to those of Carillon.

    Records of the audit have their own `event` and `fields` already.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        if record.name.partition(".")[0] == "carillon" and not hasattr(record, "event"):
            match = _EVENT.match(str(record.msg))
            record.event = match[0] if match else None
            record.fields = _fields(record)
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


def _fields(record: logging.LogRecord) -> dict[str, object]:
    names = _FIELD.findall(str(record.msg))
    values = record.args if isinstance(record.args, tuple) else ()
    if len(names) != len(values):
        return {}
    pairs = zip(names, values, strict=True)
    return {name: _json_value(value) for name, value in pairs if name}


def _json_value(value: object) -> object:
    return value if isinstance(value, int | float | str) else str(value)
