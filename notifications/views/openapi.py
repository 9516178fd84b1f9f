"""`GET /openapi.json`: the HTTP interface as an OpenAPI 3.1 document.

The template is `openapi.json` beside this file, in which the paths are names of URLs. The fields of
a body and every limit come from the code that enforces them.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.cache import get_conditional_response

from notifications.conf import get_settings
from notifications.errors import CarillonError
from notifications.events import (
    MAX_NAME_BYTES,
    MAX_RETRY_MS,
    MIN_RETRY_MS,
    RESERVED_PREFIX,
    RESERVED_TYPES,
)
from notifications.topics import MAX_TOPIC_BYTES, MAX_TOPICS
from notifications.views.bodies import MAX_KEY_CHARACTERS, EventFields
from notifications.views.history.view import MAX_LIMIT
from notifications.views.problems import check_method, problem_responses

CACHE_CONTROL = "public, max-age=300"


@problem_responses
async def openapi(request: HttpRequest) -> HttpResponseBase:
    check_method(request, "GET", "HEAD", detail="This document is read by a GET.")
    content = json.dumps(document(), indent=1).encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    full = HttpResponse(content, content_type="application/json")
    response = get_conditional_response(request, etag=etag, response=full) or full
    response["ETag"] = etag
    response["Cache-Control"] = CACHE_CONTROL
    return response


def document() -> dict[str, Any]:
    """The document for the settings and URLs of this project."""
    content: dict[str, Any] = json.loads(_template())
    content["info"]["version"] = _version()
    content["paths"] = dict(_paths(content["paths"]))
    components = content["components"]
    components["securitySchemes"]["session"]["name"] = django_settings.SESSION_COOKIE_NAME
    components["securitySchemes"]["csrf"]["name"] = _header_name(django_settings.CSRF_HEADER_NAME)
    schemas = components["schemas"]
    schemas["Topic"]["maxLength"] = MAX_TOPIC_BYTES
    schemas["Events"]["maxItems"] = get_settings().MAX_BATCH_EVENTS
    schemas["Event"] = _event_schema()
    components["parameters"]["topic"]["schema"]["maxItems"] = MAX_TOPICS
    components["parameters"]["limit"]["schema"]["maximum"] = MAX_LIMIT
    components["parameters"]["idempotencyKey"]["schema"]["maxLength"] = MAX_KEY_CHARACTERS
    schemas["Problem"]["properties"]["type"]["enum"] = sorted(
        f"urn:carillon:problem:{code}" for code in _codes(CarillonError)
    )
    return content


@cache
def _template() -> str:
    return Path(__file__).with_suffix(".json").read_text()


def _version() -> str:
    try:
        return version("django-carillon")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"


def _paths(paths: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The paths by their URLs, without those that the project does not serve."""
    for name, path in paths.items():
        with suppress(NoReverseMatch):
            yield reverse(name), path


def _event_schema() -> dict[str, Any]:
    """The schema of `EventFields`, with the limits that `Event` enforces."""
    schema = EventFields.model_json_schema()
    fields = schema["properties"]
    topic = {"$ref": "#/components/schemas/Topic"}
    several = {"type": "array", "items": topic, "minItems": 1, "maxItems": MAX_TOPICS}
    fields["topic"] = {"anyOf": [topic, several]}
    fields["data"]["description"] = (
        f"Text, sent as it is, or anything else, sent as JSON: {get_settings().MAX_EVENT_BYTES} "
        "bytes at most."
    )
    reserved = "|".join(
        [*sorted(f"{name}$" for name in RESERVED_TYPES), re.escape(RESERVED_PREFIX)]
    )
    line = r"[^\r\n\0]*$"
    _if_present(fields["type"]).update(maxLength=MAX_NAME_BYTES, pattern=f"^(?!{reserved}){line}")
    _if_present(fields["id"]).update(maxLength=MAX_NAME_BYTES, pattern=f"^{line}")
    _if_present(fields["idempotency_key"]).update(minLength=1, maxLength=MAX_KEY_CHARACTERS)
    _if_present(fields["retry"]).update(minimum=MIN_RETRY_MS, maximum=MAX_RETRY_MS)
    return schema


def _if_present(field: dict[str, Any]) -> dict[str, Any]:
    """The schema that an optional field has when it is present."""
    schema: dict[str, Any] = field["anyOf"][0]
    return schema


def _header_name(name: str) -> str:
    """The name of the header that `request.META` has under this key."""
    return name.removeprefix("HTTP_").replace("_", "-").title()


def _codes(kind: type[CarillonError]) -> Iterator[str]:
    yield kind.code
    for subclass in kind.__subclasses__():
        yield from _codes(subclass)
