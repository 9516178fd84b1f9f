"""Request ids: one name for a request, in what proxies, logs and answers say of it."""

import re
import secrets
from contextvars import ContextVar

from django.http import HttpRequest

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
