"""The view that django-eventstream's URLs lead to."""

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django_eventstream.utils import augment_cors_headers, get_cors_from_settings

from notifications.asgi.responses import (
    HEADERS,
    EventStreamResponse,
    closing_response,
)
from notifications.asgi.routes import runs_on_loop
from notifications.compat.eventstream import encoder, ids
from notifications.compat.eventstream.request import Asked, Over, Refused, asked, granted
from notifications.errors import BadRequest, NeedsAsgi, Unavailable
from notifications.hub import runtime
from notifications.hub.stream import READY_TIMEOUT
from notifications.hub.subscribers import CloseReason, Start
from notifications.log.cursors import Cursor
from notifications.telemetry import audit
from notifications.views.problems import UNREADABLE, problem

logger = logging.getLogger("carillon")


@runs_on_loop
@csrf_exempt
@transaction.non_atomic_requests
async def events(request: HttpRequest, **view_kwargs: Any) -> HttpResponseBase:
    """Streams the channels that the URL, the query or the site's channel manager name."""
    if request.method in ("OPTIONS", "HEAD"):
        response: HttpResponseBase = HttpResponse(headers=HEADERS)
    elif not hasattr(request, "scope"):
        return problem(request, NeedsAsgi("Serve this URL with an ASGI server: Daphne or uvicorn."))
    else:
        response = await _answer(request, view_kwargs)
    allow_origin(request, response)
    return response


async def _answer(request: HttpRequest, view_kwargs: dict[str, Any]) -> HttpResponseBase:
    here = runtime.start()
    if not await here.wait_ready(timeout=READY_TIMEOUT):
        return _come_back(here.refusal)
    head = here.hub.head
    try:
        wanted = await sync_to_async(asked)(request, view_kwargs)
    except Over:
        text = "Invalid request: Can't resume session after stream-error.\n"
        return HttpResponseBadRequest(text)
    except Refused as refused:
        return HttpResponse(encoder.error(refused.condition, str(refused)), headers=HEADERS)
    except UNREADABLE as error:
        return problem(request, BadRequest(f"The request cannot be read: {error}"))
    except (DatabaseError, Unavailable):
        logger.exception("subscribe.user_unknown")
        return _come_back(CloseReason.USER_UNKNOWN)
    if wanted.forbidden:
        audit.tell(logging.WARNING, "subscribe.denied", topics=wanted.forbidden)
        return HttpResponse(encoder.forbidden(wanted.forbidden), headers=HEADERS)
    return EventStreamResponse(
        granted(wanted, head),
        start=Start(cursors=_cursors(wanted, head)),
        encoder=encoder.EventstreamEncoder(wanted.channels, wanted.reliable),
    )


def _cursors(wanted: Asked, head: Cursor) -> dict[str, Cursor | None]:
    """Where each channel goes on; from here, if nothing says otherwise."""
    return {
        channel: ids.cursor(wanted.last_ids[channel], head.epoch)
        if channel in wanted.reliable and channel in wanted.last_ids
        else head
        for channel in wanted.channels
    }


def _come_back(reason: CloseReason) -> HttpResponse:
    """A stream that ends at once: after an HTTP error, a browser would stay away for good."""
    return closing_response(reason, encoder.EventstreamEncoder((), ()))


# Cross-origin reading, by the `EVENTSTREAM_ALLOW_…` settings.


def allow_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    """As there, and by the `Origin` that the browser names too, not only by its `Referer`."""
    augment_cors_headers(response, request)
    origins = get_cors_from_settings()
    if isinstance(origins, list):
        patch_vary_headers(response, ["Origin"])
        origin = request.META.get("HTTP_ORIGIN")
        if origin is not None and origin in origins:
            response["Access-Control-Allow-Origin"] = origin
