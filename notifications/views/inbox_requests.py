"""What all views of a person's inbox share: whose it is, what was sent, and how it is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from notifications.access.authorization import authenticate_person
from notifications.access.identities.base import Identity
from notifications.errors import (
    BadRequest,
    DatabaseAway,
    Forbidden,
    TooLarge,
    UnsupportedMediaType,
)
from notifications.telemetry.logs import logger
from notifications.views.bodies import JSON

MAX_BODY_BYTES = 64 * 1024


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


async def identity_of_person(request: HttpRequest) -> Identity:
    try:
        return await authenticate_person(request)
    except DatabaseError as error:
        logger.exception("inbox.user_unknown")
        raise DatabaseAway("The sessions cannot be read now: try again.") from error


def user_of(identity: Identity) -> AbstractBaseUser:
    if isinstance(identity.user, AbstractBaseUser):
        return identity.user
    raise Forbidden("An inbox is that of a user of this site.")


@contextmanager
def database() -> Iterator[None]:
    """Answers a failure of the database with a 503."""
    try:
        yield
    except DatabaseError as error:
        logger.exception("inbox.database_away")
        raise DatabaseAway("The inbox cannot be reached now: try again.") from error


def form_fields(request: HttpRequest) -> Iterator[tuple[str, list[Any]]]:
    """The fields of a form, without the CSRF token."""
    return ((name, values) for name, values in request.POST.lists() if name != CSRF_FIELD)


CSRF_FIELD = "csrfmiddlewaretoken"


def json_object(request: HttpRequest, *, example: str) -> dict[str, Any]:
    if request.content_type != JSON:
        raise UnsupportedMediaType(f"Send {JSON} or a form.")
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"A request has at most {MAX_BODY_BYTES} bytes.")
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"This is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise BadRequest(f"Send a JSON object, such as {example}.")
    return content


def parsed[Kind: Parameters](kind: type[Kind], given: dict[str, Any]) -> Kind:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_context=False, include_input=False)
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            names = [field.alias or name for name, field in kind.model_fields.items()]
            reason = f"there is no such parameter: they are {', '.join(names)}"
        raise BadRequest(f"{where}: {reason}." if where else f"{reason}.") from None


def answer(body: dict[str, Any]) -> HttpResponse:
    response = JsonResponse(body)
    response["Cache-Control"] = "no-store"
    return response
