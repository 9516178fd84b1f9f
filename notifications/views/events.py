"""`GET /events/?topic=…`: the event stream."""

import logging
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.request import MediaType
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from notifications import sse
from notifications.access.authorization import authorize_subscribe
from notifications.asgi.marker import nonblocking
from notifications.asgi.responses import STREAM_HEADERS, EventStreamResponse, closing_response
from notifications.asgi.start_params import requested_start
from notifications.errors import (
    BadRequest,
    Invalid,
    NeedsAsgi,
    NotAcceptable,
    TargetTooLong,
    Unavailable,
)
from notifications.hub import runtime
from notifications.hub.stream import READY_TIMEOUT_SECONDS
from notifications.hub.subscribers import CloseReason
from notifications.topics import parse_topics
from notifications.views.cors import allow_origin, allow_preflight
from notifications.views.end_notice import requested_end_notice
from notifications.views.problems import check_method, problem_responses

logger = logging.getLogger("carillon")

MAX_TARGET_BYTES = 8_000
METHODS = ("GET", "HEAD", "OPTIONS")


# Exempt from the CSRF check, so that a POST is refused by its method and not for lack of a token.
@nonblocking
@csrf_exempt
@problem_responses
async def events(request: HttpRequest) -> HttpResponseBase:
    """Streams the `topic` parameters, from the client's cursor or `since` on, or from now."""
    response = await _without_cors(request)
    allow_origin(request, response)
    return response


@problem_responses
async def _without_cors(request: HttpRequest) -> HttpResponseBase:
    if request.method == "OPTIONS":
        return preflight_response()
    response = await _stream(request)
    if request.method == "HEAD":
        return HttpResponse(headers=STREAM_HEADERS)
    return response


def preflight_response() -> HttpResponse:
    response = HttpResponse(status=204, headers={"Allow": ", ".join(METHODS)})
    allow_preflight(response)
    return response


async def _stream(request: HttpRequest) -> HttpResponseBase:
    check_method(request, *METHODS, detail="Subscribing is a GET.")
    check_streamable(request)
    if not _accepts_stream(request.META.get("HTTP_ACCEPT", "*/*")):
        raise NotAcceptable(f"The answer is {sse.CONTENT_TYPE}, which Accept rules out.")
    start = requested_start(request)
    envelope = request.GET.get("envelope", "") not in ("", "0")
    topics = requested_topics(request)
    running = runtime.start()
    scope: dict[str, Any] = getattr(request, "scope", {})
    if not await running.wait_ready(timeout=READY_TIMEOUT_SECONDS):
        return closing_response(running.refusal)
    # A client over the quota of its address is refused before any query. When the stream opens,
    # all its quotas are checked.
    quotas = running.quotas
    refusal = quotas.admit(quotas.address(scope))
    if isinstance(refusal, CloseReason):
        return closing_response(refusal)
    try:
        grant = await authorize_subscribe(request, topics)
        end_notice = await requested_end_notice(request)
    except (DatabaseError, Unavailable):
        logger.exception("subscribe.user_unknown")
        return closing_response(CloseReason.DATABASE_AWAY)
    response = EventStreamResponse(grant, start=start, envelope=envelope, end_notice=end_notice)
    response.stream.set_client(scope)
    return response


def check_streamable(request: HttpRequest) -> None:
    """Raises `NeedsAsgi` under WSGI, and `TargetTooLong` if the target may have been cut off."""
    if not hasattr(request, "scope"):
        raise NeedsAsgi(
            "Under WSGI a stream would hang without a byte. Serve this URL with an ASGI server: "
            "'manage.py carillon serve', Daphne or uvicorn."
        )
    target = len(request.META["QUERY_STRING"]) + len(request.path.encode()) + 1
    if target > MAX_TARGET_BYTES:
        raise TargetTooLong(
            f"The request target has {target} bytes; at most {MAX_TARGET_BYTES} are read. "
            "Subscribe to fewer topics, or publish to one that stands for several."
        )


@lru_cache(maxsize=256)
def _accepts_stream(accept: str) -> bool:
    """Whether the most specific range of `Accept` that matches allows it (RFC 9110 §12.5.1).

    Not `request.accepts`: it ignores a range with `q=0`, or, in Django 5.2.0, the `q=0` itself.
    """
    ranges = [MediaType(item.lower()) for item in accept.split(",")]
    quality = {(item.main_type, item.sub_type): item.quality for item in ranges}
    for media_type in (("text", "event-stream"), ("text", "*"), ("*", "*")):
        if media_type in quality:
            return quality[media_type] > 0
    return False


def requested_topics(request: HttpRequest) -> tuple[str, ...]:
    """The `topic` parameters; none if the client leaves the choice to its link or user."""
    try:
        unquote_to_bytes(request.META["QUERY_STRING"]).decode()
    except UnicodeDecodeError:
        raise BadRequest("The query is not valid UTF-8.") from None
    topics = request.GET.getlist("topic")
    try:
        return parse_topics(topics) if topics else ()
    except Invalid as error:
        raise BadRequest(error.detail) from None
