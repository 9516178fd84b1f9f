"""Cross-origin reading of streams for allowed origins (Fetch standard, CORS protocol)."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from notifications.access.origins import is_allowed_origin

MAX_AGE_SECONDS = 24 * 60 * 60


def allow_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let the page of the request read the response, if its origin is allowed."""
    patch_vary_headers(response, ["Origin"])
    origin = request.META.get("HTTP_ORIGIN")
    if origin and is_allowed_origin(origin):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Allow-Credentials"] = "true"


def allow_preflight(response: HttpResponseBase) -> None:
    """Allow what a fetch-based client sends when it resumes. `EventSource` needs no preflight."""
    response["Access-Control-Allow-Methods"] = "GET"
    response["Access-Control-Allow-Headers"] = "Last-Event-ID, Cache-Control"
    response["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
