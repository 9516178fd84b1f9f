"""Parsing where a stream starts: the parameters of a request become a `Start`."""

import re
import time
from datetime import UTC, datetime

from django.http import HttpRequest

from notifications.errors import BadRequest, Invalid
from notifications.hub.subscribers import Start
from notifications.log.cursors import Cursor

NO_CURSOR = "none"
"""The value of `since` for a page whose cursor is not known."""
RESUME_PARAMETERS = ("lastEventId", "lastEventID", "last_event_id")
"""Parameters with a cursor. Clients (polyfills, Mercure's) append the first two by themselves."""
NOW = Start()

_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d)", re.ASCII)
_LAST = re.compile(r"last:([1-9][0-9]{0,2}|1000)", re.ASCII)
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def requested_start(request: HttpRequest) -> Start:
    """The start that a request asks for, in `Last-Event-ID`, a resume parameter or `since`.

    The first of these that is present and not empty counts, in this order.

    Raises `BadRequest` if `since` cannot be parsed. A cursor that cannot be parsed is never an HTTP
    error, because a browser that gets one does not connect again.
    """
    if cursor := request.META.get("HTTP_LAST_EVENT_ID"):
        return Start(cursor=cursor)
    query = request.GET
    for name in RESUME_PARAMETERS:
        if name in query and (cursor := query[name]):
            return Start(cursor=cursor)
    return parse_since(query["since"]) if query.get("since") else NOW


def parse_since(text: str) -> Start:
    """The start for a cursor, an ISO 8601 time, `10m` before now, `last:20`, `all` or `earliest`.

    `none` is the cursor of a page that got none: its stream begins with a reset.

    Raises `BadRequest` for anything else.
    """
    if text in ("all", "earliest"):
        return Start(since_ms=0)
    if text == NO_CURSOR:
        return Start(cursor="")
    if duration := _DURATION.fullmatch(text):
        ago = int(duration[1]) * _UNIT_MS[duration[2]]
        return Start(since_ms=max(0, time.time_ns() // 1_000_000 - ago))
    if last := _LAST.fullmatch(text):
        return Start(last=int(last[1]))
    try:
        Cursor.parse(text)
    except Invalid:
        return Start(since_ms=_parse_time(text))
    return Start(cursor=text)


def _parse_time(text: str) -> int:
    """Milliseconds since 1970, never negative."""
    try:
        # An unescaped plus sign in a query arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise BadRequest(
            f"since={text!r} is not a cursor, an ISO 8601 time, a duration such as 10m, the last "
            "events up to last:1000, or 'all'."
        ) from None
