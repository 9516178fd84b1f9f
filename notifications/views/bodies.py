"""The body of a publish request: JSON, newline-delimited JSON or an HTML form."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from notifications.conf import get_settings
from notifications.errors import BadRequest, Invalid, TooLarge, UnsupportedMediaType
from notifications.events import Event, new_ids
from notifications.publishing.publisher import build_event, within_limit

JSON = "application/json"
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
URLENCODED = "application/x-www-form-urlencoded"
FORM_TYPES = frozenset({URLENCODED, "multipart/form-data"})
MAX_FAULTS = 20
MAX_KEY_CHARACTERS = 255
# Far more fields than exist: a body of nothing but unknown names is not worth listing.
MAX_FIELDS = 50


def _as_list(topic: Any) -> Any:
    return [topic] if isinstance(topic, str) else topic


class EventFields(BaseModel):
    """The fields of one event. An empty `type` or `id` counts as absent."""

    model_config = ConfigDict(extra="forbid")

    topic: Annotated[list[str], BeforeValidator(_as_list)]
    data: Any
    type: str | None = None
    id: str | None = None
    retry: int | None = None
    idempotency_key: str | None = None


# Used directly, because `model_validate` doubles the time that validation takes.
_validator = TypeAdapter(EventFields).validator
_PLAIN_TYPES: dict[str, type] = {"type": str, "id": str, "retry": int, "idempotency_key": str}

type Fields = tuple[tuple[str, ...], Any, str | None, str | None, int | None, str | None]
"""The topics of an event, and the other fields of `EventFields` in their order."""


@dataclass(slots=True)
class Publication:
    event: Event
    named: bool
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """All events of a request, each one valid, and the body for its fingerprint."""

    publications: list[Publication]
    is_batch: bool
    body: bytes


def parse_publish_request(request: HttpRequest) -> PublishRequest:
    """Raises `Invalid`, listing each fault with its index, field and reason, or `TooLarge`."""
    content_type = request.content_type
    if content_type in FORM_TYPES:
        fields = _form(request)
        return _publish_request(
            [fields], is_batch=False, body=repr(sorted(fields.items())).encode()
        )
    if content_type != JSON and content_type not in NDJSON_TYPES:
        raise UnsupportedMediaType(
            f"Send {JSON}, application/x-ndjson or a form, not {content_type or 'nothing'!r}."
        )
    body = _body(request)
    if content_type in NDJSON_TYPES:
        return _publish_request(_lines(body), is_batch=True, body=body)
    content = _json(body)
    is_batch = isinstance(content, list)
    return _publish_request(content if is_batch else [content], is_batch=is_batch, body=body)


def _body(request: HttpRequest) -> bytes:
    limit = get_settings().MAX_BATCH_BYTES
    # Not `request.body`: its limit is the project's limit for forms, which is lower.
    body = request.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(f"A request has at most {limit} bytes: send several.")
    return body


def _json(text: bytes) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"This is not JSON: {error}.") from None


def _lines(text: bytes) -> list[Any]:
    contents: list[Any] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        if line and not line.isspace():
            try:
                contents.append(_json(line))
            except BadRequest as error:
                raise BadRequest(f"Line {number}: {error.detail}") from None
    return contents


def _form(request: HttpRequest) -> dict[str, Any]:
    """The fields of a form, without empty ones, which a browser sends too. Raises for a file."""
    if request.content_type == URLENCODED:
        try:
            unquote_to_bytes(request.body).decode()
        except UnicodeDecodeError:
            raise BadRequest("The form is not valid UTF-8.") from None
    for name in request.FILES:
        reason = "Files are not accepted: send it as a plain field."
        raise Invalid(f"{name}: {reason}", errors=[{"index": 0, "field": name, "reason": reason}])
    return {
        name: values if name == "topic" else values[-1]
        for name, values in request.POST.lists()
        if name != "csrfmiddlewaretoken" and (name in {"topic", "data"} or values[-1] != "")
    }


def _publish_request(contents: list[Any], *, is_batch: bool, body: bytes) -> PublishRequest:
    limit = get_settings().MAX_BATCH_EVENTS
    if not contents:
        raise Invalid("There is no event in the body.")
    if len(contents) > limit:
        raise TooLarge(f"A batch has at most {limit} events; this one has {len(contents)}.")
    publications: list[Publication] = []
    faults: list[dict[str, Any]] = []
    too_large = 0
    for index, (content, new_id) in enumerate(zip(contents, new_ids(len(contents)), strict=True)):
        try:
            publications.append(_publication(content, new_id))
        except ValidationError as error:
            faults += ({"index": index, **fault} for fault in _faults(error))
        except (Invalid, TooLarge) as error:
            field = error.extensions.get("field")
            faults.append({"index": index, "field": field, "reason": error.detail})
            too_large += isinstance(error, TooLarge)
    if faults:
        kind = TooLarge if too_large == len(faults) else Invalid
        raise kind(_summary(faults, is_batch=is_batch), errors=faults[:MAX_FAULTS])
    return PublishRequest(publications, is_batch, body)


def _publication(content: Any, new_id: str) -> Publication:
    if isinstance(content, dict) and len(content) > MAX_FIELDS:
        raise Invalid(f"An event has at most {MAX_FIELDS} fields; this one has {len(content)}.")
    topics, data, type, id, retry, key = _plain_fields(content) or _converted_fields(content)
    if id:
        event = build_event(topics, data, type=type or None, id=id, retry=retry)
    else:
        event = within_limit(Event.with_new_id(new_id, topics, data, type or None, retry))
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise Invalid(
            f"idempotency_key has 1 to {MAX_KEY_CHARACTERS} characters.", field="idempotency_key"
        )
    return Publication(event, bool(id), key)


def _plain_fields(content: Any) -> Fields | None:
    """The fields, if each value has its own type, so that there is nothing to convert.

    This is almost every event, and takes a fraction of the time that pydantic takes.
    """
    if type(content) is not dict or "data" not in content:
        return None
    topic = content.get("topic")
    if type(topic) is str:
        topics: tuple[str, ...] = (topic,)
    elif type(topic) is list and all(type(each) is str for each in topic):
        topics = tuple(topic)
    else:
        return None
    if len(content) == 2:
        return topics, content["data"], None, None, None, None
    for name, value in content.items():
        if name not in ("topic", "data"):
            plain = _PLAIN_TYPES.get(name)
            if plain is None or not (value is None or type(value) is plain):
                return None
    type_, id, retry, key = (content.get(name) for name in _PLAIN_TYPES)
    return topics, content["data"], type_, id, retry, key


def _converted_fields(content: Any) -> Fields:
    """The fields as pydantic reads them. Raises `ValidationError`."""
    fields = _validator.validate_python(content)
    topics, key = tuple(fields.topic), fields.idempotency_key
    return topics, fields.data, fields.type, fields.id, fields.retry, key


def _faults(error: ValidationError) -> Iterator[dict[str, str | None]]:
    names = ", ".join(EventFields.model_fields)
    reasons = {
        "extra_forbidden": f"There is no such field: the fields are {names}.",
        "model_type": "An event is a JSON object.",
    }
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        yield {
            "field": str(fault["loc"][0]) if fault["loc"] else None,
            "reason": reasons.get(fault["type"], fault["msg"]),
        }


def _summary(faults: list[dict[str, Any]], *, is_batch: bool) -> str:
    first = faults[0]
    where = f"Event {first['index']}, " if is_batch else ""
    field = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    kept = " Nothing was kept." if is_batch else ""
    return f"{where}{field}{first['reason']}{more}{kept}"
