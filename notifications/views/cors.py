"""Cross-origin reading of streams (Fetch standard, CORS protocol), by allow-list."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from notifications.access.origins import is_allowed

MAX_AGE = 24 * 60 * 60


def allow_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let the page that asks read the response, if its origin is allowed."""
    patch_vary_headers(response, ["Origin"])
    origin = request.META.get("HTTP_ORIGIN")
    if origin and is_allowed(origin):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Allow-Credentials"] = "true"


def allow_preflight(response: HttpResponseBase) -> None:
    """What a fetch-based client asks before it resumes: a native EventSource never does."""
    response["Access-Control-Allow-Methods"] = "GET"
    response["Access-Control-Allow-Headers"] = "Last-Event-ID, Cache-Control"
    response["Access-Control-Max-Age"] = str(MAX_AGE)
