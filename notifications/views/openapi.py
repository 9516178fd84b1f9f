"""`GET /openapi.json`: the HTTP interface, as a document that programs read (OpenAPI 3.1).

What is said of it is in `openapi.json` beside this, its paths under the names of their URLs. What a
body may hold, and every limit, is taken from where it is enforced.
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
from notifications.errors import CarillonError, MethodNotAllowed
from notifications.events import (
    MAX_NAME_BYTES,
    MAX_RETRY,
    MIN_RETRY,
    RESERVED_PREFIX,
    RESERVED_TYPES,
)
from notifications.topics import MAX_TOPIC_BYTES, MAX_TOPICS
from notifications.views.bodies import Fields
from notifications.views.history.view import MAX_LIMIT
from notifications.views.problems import tells_problems
from notifications.views.publish import MAX_KEY_CHARACTERS

CACHE_CONTROL = "public, max-age=300"
METHODS = ("GET", "HEAD")


@tells_problems
async def openapi(request: HttpRequest) -> HttpResponseBase:
    if request.method not in METHODS:
        raise MethodNotAllowed("This document is read by a GET.", allowed=METHODS)
    content = json.dumps(document(), indent=1).encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    whole = HttpResponse(content, content_type="application/json")
    response = get_conditional_response(request, etag=etag, response=whole) or whole
    response["ETag"] = etag
    response["Cache-Control"] = CACHE_CONTROL
    return response


def document() -> dict[str, Any]:
    """The document, for these settings and these URLs."""
    whole: dict[str, Any] = json.loads(_written())
    whole["info"]["version"] = _version()
    whole["paths"] = dict(_placed(whole["paths"]))
    components = whole["components"]
    components["securitySchemes"]["session"]["name"] = django_settings.SESSION_COOKIE_NAME
    components["securitySchemes"]["csrf"]["name"] = _header_of(django_settings.CSRF_HEADER_NAME)
    schemas = components["schemas"]
    schemas["Topic"]["maxLength"] = MAX_TOPIC_BYTES
    schemas["Events"]["maxItems"] = get_settings().MAX_BATCH_EVENTS
    schemas["Event"] = _event()
    components["parameters"]["topic"]["schema"]["maxItems"] = MAX_TOPICS
    components["parameters"]["limit"]["schema"]["maximum"] = MAX_LIMIT
    components["parameters"]["idempotencyKey"]["schema"]["maxLength"] = MAX_KEY_CHARACTERS
    schemas["Problem"]["properties"]["type"]["enum"] = sorted(
        f"urn:carillon:problem:{code}" for code in _codes(CarillonError)
    )
    return whole


@cache
def _written() -> str:
    return Path(__file__).with_suffix(".json").read_text()


def _version() -> str:
    try:
        return version("django-carillon")
    except PackageNotFoundError:  # a checkout, which is not installed
        return "0"


def _placed(paths: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Under their URLs; what a project does not serve is left out."""
    for name, path in paths.items():
        with suppress(NoReverseMatch):
            yield reverse(name), path


def _event() -> dict[str, Any]:
    """What `Fields` takes, with the limits that `Event` has."""
    schema = Fields.model_json_schema()
    fields = schema["properties"]
    topic = {"$ref": "#/components/schemas/Topic"}
    several = {"type": "array", "items": topic, "minItems": 1, "maxItems": MAX_TOPICS}
    fields["topic"] = {"anyOf": [topic, several]}
    fields["data"]["description"] = (
        f"Text, sent as it is, or anything else, sent as JSON: {get_settings().MAX_EVENT_BYTES} "
        "bytes at most."
    )
    taken = "|".join([*sorted(f"{each}$" for each in RESERVED_TYPES), re.escape(RESERVED_PREFIX)])
    line = r"[^\r\n\0]*$"
    _given(fields["type"]).update(maxLength=MAX_NAME_BYTES, pattern=f"^(?!{taken}){line}")
    _given(fields["id"]).update(maxLength=MAX_NAME_BYTES, pattern=f"^{line}")
    _given(fields["idempotency_key"]).update(minLength=1, maxLength=MAX_KEY_CHARACTERS)
    _given(fields["retry"]).update(minimum=MIN_RETRY, maximum=MAX_RETRY)
    return schema


def _given(field: dict[str, Any]) -> dict[str, Any]:
    """Of what may be left out: the form that it has otherwise."""
    form: dict[str, Any] = field["anyOf"][0]
    return form


def _header_of(name: str) -> str:
    """As a client writes what `request.META` has under this name."""
    return name.removeprefix("HTTP_").replace("_", "-").title()


def _codes(kind: type[CarillonError]) -> Iterator[str]:
    yield kind.code
    for below in kind.__subclasses__():
        yield from _codes(below)
