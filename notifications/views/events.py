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
from notifications.access.authorization import grant_for
from notifications.asgi.responses import HEADERS, EventStreamResponse, closing_response
from notifications.asgi.routes import runs_on_loop
from notifications.asgi.start_params import start_of
from notifications.errors import (
    BadRequest,
    Invalid,
    MethodNotAllowed,
    NeedsAsgi,
    NotAcceptable,
    TargetTooLong,
    Unavailable,
)
from notifications.hub import runtime
from notifications.hub.subscribers import CloseReason
from notifications.topics import topics as check_topics
from notifications.views.cors import allow_origin, allow_preflight
from notifications.views.end_notice import witness_of
from notifications.views.problems import tells_problems

logger = logging.getLogger("carillon")

MAX_TARGET_BYTES = 8_000
METHODS = ("GET", "HEAD", "OPTIONS")
READY_TIMEOUT = 2.0


# A POST is refused as what it is, and not for the want of a token.
@runs_on_loop
@csrf_exempt
@tells_problems
async def events(request: HttpRequest) -> HttpResponseBase:
    """Streams what the `topic` parameters name, from where the client was or `since` says."""
    response = await _without_cors(request)
    allow_origin(request, response)
    return response


@tells_problems
async def _without_cors(request: HttpRequest) -> HttpResponseBase:
    if request.method == "OPTIONS":
        options = HttpResponse(status=204, headers={"Allow": ", ".join(METHODS)})
        allow_preflight(options)
        return options
    response = await _stream(request)
    if request.method == "HEAD":
        return HttpResponse(headers=HEADERS)
    return response


async def _stream(request: HttpRequest) -> HttpResponseBase:
    if request.method not in METHODS:
        raise MethodNotAllowed("Subscribing is a GET.", allowed=METHODS)
    check_served(request)
    if not _is_welcome(request.META.get("HTTP_ACCEPT", "*/*")):
        raise NotAcceptable(f"The answer is {sse.CONTENT_TYPE}, which Accept rules out.")
    start = start_of(request)
    envelope = request.GET.get("envelope", "") not in ("", "0")
    asked = topics_asked(request)
    here = runtime.start()
    scope: dict[str, Any] = getattr(request, "scope", {})
    if not await here.wait_ready(timeout=READY_TIMEOUT):
        return closing_response(here.refusal)
    # Before anything is read for them; and once more when the stream is opened.
    if reason := here.quotas.refusal(here.quotas.names(here.quotas.address(scope))):
        return closing_response(reason)
    try:
        grant = await grant_for(request, asked)
        end_notice = await witness_of(request)
    except (DatabaseError, Unavailable):
        logger.exception("subscribe.user_unknown")
        return closing_response(CloseReason.USER_UNKNOWN)
    response = EventStreamResponse(grant, start=start, envelope=envelope, end_notice=end_notice)
    response.stream.comes_from(scope)
    return response


def check_served(request: HttpRequest) -> None:
    """Whether it can be streamed at all, and was not cut on its way."""
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
def _is_welcome(accept: str) -> bool:
    """Whether the most specific range of `Accept` that is meant allows a stream (RFC 9110 §12.5.1).

    Not `request.accepts`: it forgets what `q=0` rules out, or, in Django 5.2.0, that it rules out.
    """
    ranges = [MediaType(each.lower()) for each in accept.split(",")]
    meant = {(each.main_type, each.sub_type): each.quality for each in ranges}
    for form in (("text", "event-stream"), ("text", "*"), ("*", "*")):
        if form in meant:
            return meant[form] > 0
    return False


def topics_asked(request: HttpRequest) -> tuple[str, ...]:
    try:
        unquote_to_bytes(request.META["QUERY_STRING"]).decode()
    except UnicodeDecodeError:
        raise BadRequest("The query is not valid UTF-8.") from None
    given = request.GET.getlist("topic")
    try:
        return check_topics(given) if given else ()
    except Invalid as error:
        raise BadRequest(error.detail) from None
