"""The view at the URLs of django-eventstream."""

from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django_eventstream.utils import augment_cors_headers, get_cors_from_settings

from notifications.access.identities.primary_session import authenticate_session
from notifications.asgi.marker import judges_itself, nonblocking
from notifications.asgi.responses import (
    STREAM_HEADERS,
    EventStreamResponse,
    closing_response,
)
from notifications.compat.eventstream import encoder
from notifications.compat.eventstream.request import (
    InvalidRequest,
    ResumedAfterError,
    StreamRequest,
    make_grant,
    parse_request,
)
from notifications.compat.eventstream.translation import from_number
from notifications.conf.namespace import Namespace, log_topic, of_request
from notifications.errors import BadRequest, NeedsAsgi, Unavailable
from notifications.hub import runtime
from notifications.hub.primary import routes_reads
from notifications.hub.stream import READY_TIMEOUT_SECONDS
from notifications.hub.subscribers import CloseReason, Start
from notifications.log.cursors import Cursor
from notifications.telemetry import audit
from notifications.telemetry.logs import logger
from notifications.views.problems import UNREADABLE, problem


@nonblocking
@judges_itself
@csrf_exempt
@transaction.non_atomic_requests
async def events(request: HttpRequest, **view_kwargs: Any) -> HttpResponseBase:
    """Streams the channels that the URL, the query or the site's channel manager name."""
    if request.method in ("OPTIONS", "HEAD"):
        response: HttpResponseBase = HttpResponse(headers=STREAM_HEADERS)
    elif not hasattr(request, "scope"):
        return problem(request, NeedsAsgi("Serve this URL with an ASGI server: Daphne or uvicorn."))
    else:
        response = await _stream(request, view_kwargs)
    allow_origin(request, response)
    return response


async def _stream(request: HttpRequest, view_kwargs: dict[str, Any]) -> HttpResponseBase:
    running = runtime.start()
    if not await running.wait_ready(timeout=READY_TIMEOUT_SECONDS):
        return _closing(running.refusal)
    head = running.hub.head
    try:
        if routes_reads():
            # The channel manager gets the request: its user may have been read from a replica.
            request.user = (await authenticate_session(request)).user  # type: ignore[assignment]
        stream_request = await sync_to_async(parse_request)(request, view_kwargs)
        namespace = await of_request(request)
    except ResumedAfterError:
        text = "Invalid request: Can't resume session after stream-error.\n"
        return HttpResponseBadRequest(text)
    except InvalidRequest as error:
        block = encoder.error_block(error.condition, str(error))
        return HttpResponse(block, headers=STREAM_HEADERS)
    except UNREADABLE as error:
        return problem(request, BadRequest(f"The request cannot be read: {error}"))
    except (DatabaseError, Unavailable):
        logger.exception("subscribe.user_unknown")
        return _closing(CloseReason.DATABASE_AWAY)
    if forbidden := stream_request.forbidden:
        audit.logger.warning("subscribe.denied", topics=forbidden)
        return HttpResponse(encoder.forbidden_block(forbidden), headers=STREAM_HEADERS)
    return EventStreamResponse(
        make_grant(stream_request, head, namespace=namespace),
        start=Start(cursors=_cursors(stream_request, head, namespace)),
        encoder=encoder.EventstreamEncoder(stream_request.channels, stream_request.reliable),
    )


def _cursors(
    request: StreamRequest, head: Cursor, namespace: Namespace
) -> dict[str, Cursor | None]:
    """The cursor from which each channel resumes: without an id, the head."""
    return {
        log_topic(namespace, channel): from_number(request.last_ids[channel], head.epoch)
        if channel in request.reliable and channel in request.last_ids
        else head
        for channel in request.channels
    }


def _closing(reason: CloseReason) -> EventStreamResponse:
    """A stream that ends soon. After an HTTP error a browser would never reconnect."""
    return closing_response(reason, encoder.EventstreamEncoder((), ()))


def allow_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the CORS headers of the `EVENTSTREAM_ALLOW_…` settings.

    django-eventstream compares them with the `Referer`; this compares them with `Origin` too.
    """
    augment_cors_headers(response, request)
    origins = get_cors_from_settings()
    if isinstance(origins, list):
        patch_vary_headers(response, ["Origin"])
        origin = request.META.get("HTTP_ORIGIN")
        if origin is not None and origin in origins:
            response["Access-Control-Allow-Origin"] = origin
