"""Where a subscriber wants to begin, as a request says it."""

import re
import time
from datetime import UTC, datetime

from django.http import HttpRequest

from notifications.errors import BadRequest, Invalid
from notifications.hub.subscribers import Start
from notifications.log.cursors import Cursor

# What clients append by themselves (polyfills, Mercure's), and then what pages write.
RESUME_PARAMETERS = ("lastEventId", "lastEventID", "last_event_id")
_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d)", re.ASCII)
NOW = Start()
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def start_of(request: HttpRequest) -> Start:
    """The header first, then the parameters; the first that is present and not empty.

    Only an unreadable `since` raises (`BadRequest`): a cursor is never an HTTP error, since a
    browser would give up on it for good.
    """
    if cursor := request.META.get("HTTP_LAST_EVENT_ID"):
        return Start(cursor=cursor)
    query = request.GET
    for name in RESUME_PARAMETERS:
        if name in query and (cursor := query[name]):
            return Start(cursor=cursor)
    return since(query["since"]) if query.get("since") else NOW


def since(text: str) -> Start:
    """A cursor, an ISO 8601 time, a duration back from now (`10m`), `all` or `earliest`.

    Raises `BadRequest` for anything else.
    """
    if text in ("all", "earliest"):
        return Start(since_ms=0)
    if duration := _DURATION.fullmatch(text):
        ago = int(duration[1]) * _UNIT_MS[duration[2]]
        return Start(since_ms=max(0, time.time_ns() // 1_000_000 - ago))
    try:
        Cursor.parse(text)
    except Invalid:
        return Start(since_ms=_time(text))
    return Start(cursor=text)


def _time(text: str) -> int:
    try:
        # A plus sign in a query is a space, unless it was escaped.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise BadRequest(
            f"since={text!r} is not a cursor, an ISO 8601 time, a duration such as 10m, or 'all'."
        ) from None
