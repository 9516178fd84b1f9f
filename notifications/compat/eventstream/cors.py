"""Cross-origin reading, by the `EVENTSTREAM_ALLOW_…` settings."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django_eventstream.utils import augment_cors_headers, get_cors_from_settings


def allow_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    """As there, and by the `Origin` that the browser names too, not only by its `Referer`."""
    augment_cors_headers(response, request)
    origins = get_cors_from_settings()
    if isinstance(origins, list):
        patch_vary_headers(response, ["Origin"])
        origin = request.META.get("HTTP_ORIGIN")
        if origin is not None and origin in origins:
            response["Access-Control-Allow-Origin"] = origin
