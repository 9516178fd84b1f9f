"""`GET /events/?topic=…`: the event stream."""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote_to_bytes

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.request import MediaType
from django.http.response import HttpResponseBase

from notifications import sse
from notifications.access.authorization import authorize_subscribe, continue_stream
from notifications.access.identities.page_user import requested_page_user
from notifications.asgi.marker import nonblocking
from notifications.asgi.responses import (
    STREAM_HEADERS,
    EventStreamResponse,
    chosen_encoder,
    closing_response,
)
from notifications.asgi.start_params import requested_start
from notifications.errors import (
    BadRequest,
    Invalid,
    NeedsAsgi,
    NotAcceptable,
    TargetTooLong,
    Unavailable,
    UserChanged,
)
from notifications.hub import runtime
from notifications.hub.encoders import BREAKING_OFF, PLAIN, Encoder
from notifications.hub.stream import READY_TIMEOUT_SECONDS
from notifications.hub.subscribers import CloseReason
from notifications.telemetry.logs import logger
from notifications.topics import parse_topics
from notifications.views.cors import allow_origin, allow_preflight
from notifications.views.end_notice import requested_end_notice
from notifications.views.problems import check_method, problem_responses

MAX_TARGET_BYTES = 8_000
METHODS = ("GET", "HEAD", "OPTIONS")


@nonblocking
@partial(problem_responses, complete=allow_origin)
async def events(request: HttpRequest) -> HttpResponseBase:
    """Streams the `topic` parameters, from the client's cursor or `since` on, or from now."""
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
    if page_user := requested_page_user(request):
        start = replace(start, page_user=page_user)
    encoder = requested_encoder(request)
    topics = requested_topics(request)
    running = runtime.start()
    scope: dict[str, Any] = getattr(request, "scope", {})
    if not await running.wait_ready(timeout=READY_TIMEOUT_SECONDS):
        return closing_response(running.refusal, encoder)
    # A client over the quota of its address is refused before any query. When the stream opens,
    # all its quotas are checked.
    quotas = running.quotas
    refusal = quotas.admit(quotas.address(scope))
    if isinstance(refusal, CloseReason):
        return closing_response(refusal, encoder)
    try:
        grant = await continue_stream(request, topics) or await authorize_subscribe(request, topics)
        end_notice = await requested_end_notice(request)
    except UserChanged:
        return closing_response(CloseReason.USER_CHANGED, encoder)
    except (DatabaseError, Unavailable):
        logger.exception("subscribe.user_unknown")
        return closing_response(CloseReason.DATABASE_AWAY, encoder)
    response = EventStreamResponse(grant, start=start, encoder=encoder, end_notice=end_notice)
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


def requested_encoder(request: HttpRequest) -> Encoder:
    """The encoder for the parameters `as` and `envelope`. Raises `BadRequest`."""
    envelope = request.GET.get("envelope", "") not in ("", "0")
    try:
        encoder = chosen_encoder(envelope=envelope, dialect=request.GET.get("as", ""))
    except Invalid as error:
        raise BadRequest(error.detail) from None
    # Datastar takes a proper end for the last one, whatever it has asked for.
    return BREAKING_OFF if encoder is PLAIN and "HTTP_DATASTAR_REQUEST" in request.META else encoder


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
    if "topics" in request.GET and not topics:
        raise BadRequest("There is no parameter topics: write ?topic=first&topic=second.")
    for topic in topics:
        if "*" in topic.split("."):
            raise BadRequest(
                f"{topic!r} is a pattern, and a stream names its topics: write "
                "?topic=first&topic=second. Rules and PUBLIC_TOPICS are about many topics at once."
            )
    try:
        return parse_topics(topics) if topics else ()
    except Invalid as error:
        raise BadRequest(error.detail) from None
