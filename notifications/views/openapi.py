"""`GET /openapi.json`: the HTTP interface as an OpenAPI 3.2 document.

The template is `openapi.json` beside this file, in which the paths are names of URLs. The fields of
a body and every limit come from the code that enforces them.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.cache import get_conditional_response

from notifications.conf import get_settings
from notifications.conf.version import VERSION
from notifications.errors import CarillonError
from notifications.events import (
    MAX_NAME_BYTES,
    MAX_RETRY_MS,
    MIN_RETRY_MS,
    RESERVED_PREFIX,
    RESERVED_TYPES,
)
from notifications.hub.subscribers import CLOSING_REASONS, ORIGIN_AWAY
from notifications.inbox import lists
from notifications.inbox.channels import Channel, Digest
from notifications.inbox.states import Priority, State
from notifications.log.entries import ResetReason
from notifications.topics import CONTROLS, MAX_TOPIC_BYTES, MAX_TOPICS
from notifications.views.bodies import MAX_KEY_CHARACTERS, EventFields
from notifications.views.history.view import MAX_LIMIT
from notifications.views.inbox import MAX_NUMBER, marked_schema
from notifications.views.preferences import wanted_schemas
from notifications.views.problems import check_method, problem_responses
from notifications.views.push import push_schemas

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
    content["info"]["version"] = VERSION
    content["paths"] = dict(_paths(content["paths"]))
    components = content["components"]
    components["securitySchemes"]["session"]["name"] = django_settings.SESSION_COOKIE_NAME
    components["securitySchemes"]["csrf"]["name"] = _header_name(django_settings.CSRF_HEADER_NAME)
    schemas = components["schemas"]
    schemas["Topic"].update(maxLength=MAX_TOPIC_BYTES, pattern=f"^[^{CONTROLS}]*$")
    schemas["Events"]["maxItems"] = get_settings().MAX_BATCH_EVENTS
    schemas["Event"] = _event_schema()
    _signal_data(schemas, "StreamReset")["reason"]["enum"] = sorted(ResetReason)
    _signal_data(schemas, "StreamClosing")["reason"]["enum"] = sorted(
        CLOSING_REASONS | {ORIGIN_AWAY}
    )
    components["parameters"]["topic"]["schema"]["maxItems"] = MAX_TOPICS
    components["parameters"]["limit"]["schema"]["maximum"] = MAX_LIMIT
    components["parameters"]["idempotencyKey"]["schema"]["maxLength"] = MAX_KEY_CHARACTERS
    _describe_inbox(components)
    schemas["Problem"]["properties"]["type"]["enum"] = sorted(
        {f"urn:carillon:problem:{code}" for code in _codes(CarillonError)}
    )
    return content


def _describe_inbox(components: dict[str, Any]) -> None:
    """The limits and words of the inbox. A site without it has no paths that refer to them."""
    parameters, schemas = components["parameters"], components["schemas"]
    parameters["inboxLimit"]["schema"].update(maximum=lists.MAX_LIMIT, default=lists.DEFAULT_LIMIT)
    parameters["before"]["schema"].update(minimum=-MAX_NUMBER, maximum=MAX_NUMBER)
    parameters["state"]["schema"]["enum"] = list(lists.FILTERS)
    parameters["notification"]["schema"]["maxItems"] = lists.MAX_LIMIT
    schemas["Marked"] = marked_schema()
    fields = schemas["Notification"]["properties"]
    fields["state"]["enum"] = [state.word for state in State]
    fields["priority"]["enum"] = [priority.word for priority in Priority]
    schemas |= {**wanted_schemas(), **push_schemas()}
    preferences = schemas["Preferences"]["properties"]
    preferences["digest"]["enum"] = list(map(str, Digest))
    channels = preferences["categories"]["items"]["properties"]["channels"]
    channels["propertyNames"]["enum"] = list(map(str, Channel))


@cache
def _template() -> str:
    return Path(__file__).with_suffix(".json").read_text()


def _paths(paths: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The paths by their URLs, without those that the project does not serve."""
    for name, path in paths.items():
        with suppress(NoReverseMatch):
            yield reverse(name), path


def _signal_data(schemas: dict[str, Any], name: str) -> dict[str, Any]:
    """The properties of the JSON in the data of this signal."""
    properties: dict[str, Any] = schemas[name]["properties"]["data"]["contentSchema"]["properties"]
    return properties


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
    line = r"[^\r\n\u0000]*$"
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
