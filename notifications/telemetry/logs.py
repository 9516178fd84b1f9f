"""What a record of the log says, for those who keep logs as JSON: its event, fields and request.

Our lines are `name.of.event key=value …`, made of a template and its arguments; so what they say
can be told from these, and no line has to be written twice.
"""

import logging
import re
import secrets
from contextvars import ContextVar

from django.http import HttpRequest

_EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+(?=$|[ :])")
_FIELD = re.compile(r"(?:(\w+)=)?%[-+ #0]*(?:\d+|\*)?(?:\.\d+)?[a-zA-Z]")


class Structured(logging.Filter):
    """Adds `event`, `fields` and `request_id` to whatever comes by; audits have the first two."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current.get()
        if record.name.partition(".")[0] == "carillon" and not hasattr(record, "event"):
            found = _EVENT.match(str(record.msg))
            record.event = found[0] if found else None
            record.fields = _fields(record)
        return True


class Briefly(logging.Filter):
    """For a logger of refusals that anybody can bring about: a warning, without a traceback.

    Django logs each request for a host that is not ours as an error of ours.
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
    return {name: _plain(value) for name, value in pairs if name}


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str) else str(value)


# Request ids: one name for a request, in what proxies, logs and answers say of it.


HEADER = "X-Request-ID"
current: ContextVar[str | None] = ContextVar("carillon_request_id", default=None)
"""Of the request that is being answered, for the log."""
_NOTED = "carillon.request_id"
# One word, so that it can be nothing else in a line of a log; no quote, backslash or bracket.
_SANE = re.compile(r"[\w.:/+=@-]{1,64}", re.ASCII)


def request_id(request: HttpRequest) -> str:
    """The one it came with, where that can stand in a log as it is, or else one of our own."""
    known: str | None = request.META.get(_NOTED)
    if known is None:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        known = given if _SANE.fullmatch(given) else secrets.token_hex(8)
        request.META[_NOTED] = known
    return known
