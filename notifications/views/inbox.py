"""`GET /inbox/`: a person's notifications. `POST /inbox/read` and the like: what they did."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from notifications.access.authorization import authenticate_person
from notifications.access.identities.authentication import TOKEN_PARAMETER
from notifications.access.identities.base import Identity
from notifications.conf.namespace import enter
from notifications.errors import (
    BadRequest,
    DatabaseAway,
    Forbidden,
    TooLarge,
    UnsupportedMediaType,
)
from notifications.hub.page_cursor import acursor
from notifications.inbox.changes import Action, mark
from notifications.inbox.lists import DEFAULT_LIMIT, MAX_LIMIT, Page, counts, page
from notifications.telemetry.logs import logger
from notifications.views.bodies import FORM_TYPES, JSON
from notifications.views.problems import AsyncView, check_method, problem_responses

MAX_IDS = 1_000
MAX_NUMBER = 2**63 - 1
MAX_BODY_BYTES = 64 * 1024


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


Number = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
"""Below 0 are notifications that were imported."""


class ListParameters(_Parameters):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    before: Number | None = None
    state: Literal["", "unseen", "unread", "read", "archived", "all"] = ""
    category: str | None = None
    kind: str | None = None
    id: Annotated[list[UUID], Field(max_length=MAX_LIMIT)] = []


class Marked(_Parameters):
    """The notifications that a person means: those of these ids, or all up to a number."""

    ids: Annotated[list[UUID], Field(max_length=MAX_IDS)] | None = None
    up_to: Number | None = None
    category: str | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.ids is None) == (self.up_to is None):
            raise ValueError("give ids, or up_to: the number of the newest one that is meant")
        return self


def marked_schema() -> dict[str, Any]:
    """The JSON Schema of `Marked`."""
    either = [{"required": ["ids"]}, {"required": ["up_to"]}]
    schema = Marked.model_json_schema() | {"oneOf": either}
    for name in ("ids", "up_to", "category"):
        # Null is as good as nothing, but a document that said so would allow neither of two.
        schema["properties"][name] = schema["properties"][name]["anyOf"][0]
    return schema


@problem_responses
async def inbox(request: HttpRequest) -> HttpResponseBase:
    """A page of the person's notifications, the counts, and the cursor from before both."""
    check_method(request, "GET", "HEAD", detail="Reading an inbox is a GET.")
    parameters = _parsed(ListParameters, _query(request))
    identity = await _identity(request)
    cursor = await acursor(request)
    found, counted = await sync_to_async(_read)(identity, parameters)
    following = _following(request, found.before)
    body = {
        "notifications": found.notifications,
        "counts": counted,
        "next": following,
        "cursor": cursor,
    }
    return _answer(body)


def action(name: Action) -> AsyncView:
    """The view of one action: `POST /inbox/read`."""

    @problem_responses
    async def act(request: HttpRequest) -> HttpResponseBase:
        check_method(request, "POST", detail="Changing an inbox is a POST.")
        identity = await _identity(request)
        marked = _parsed(Marked, _body(request))
        changed, counted = await sync_to_async(_mark)(identity, name, marked)
        if request.content_type in FORM_TYPES:
            return HttpResponseRedirect(reverse("carillon:inbox-page"), status=303)
        return _answer({"changed": changed, "counts": counted})

    return act


async def _identity(request: HttpRequest) -> Identity:
    try:
        return await authenticate_person(request)
    except DatabaseError as error:
        logger.exception("inbox.user_unknown")
        raise DatabaseAway("The sessions cannot be read now: try again.") from error


def _read(identity: Identity, parameters: ListParameters) -> tuple[Page, dict[str, Any]]:
    chosen = parameters.model_dump(exclude={"id"})
    with _database(), enter(identity.namespace):
        return page(_user(identity), ids=parameters.id, **chosen), counts(_user(identity))


def _mark(identity: Identity, name: Action, marked: Marked) -> tuple[int, dict[str, Any]]:
    with _database(), enter(identity.namespace):
        changed = mark(_user(identity), name, **marked.model_dump())
        return changed, counts(_user(identity))


def _user(identity: Identity) -> AbstractBaseUser:
    if isinstance(identity.user, AbstractBaseUser):
        return identity.user
    raise Forbidden("An inbox is that of a user of this site.")


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        logger.exception("inbox.database_away")
        raise DatabaseAway("The inbox cannot be reached now: try again.") from error


def _query(request: HttpRequest) -> dict[str, Any]:
    return {
        name: values if name == "id" else values[-1]
        for name, values in request.GET.lists()
        if name != TOKEN_PARAMETER
    }


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.content_type in FORM_TYPES:
        return {
            "ids" if name == "id" else name: values if name == "id" else values[-1]
            for name, values in request.POST.lists()
            if name != "csrfmiddlewaretoken"
        }
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
        raise BadRequest('Send a JSON object, such as {"ids": […]} or {"up_to": 17}.')
    return content


def _parsed[Parameters: _Parameters](kind: type[Parameters], given: dict[str, Any]) -> Parameters:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_context=False, include_input=False)
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = f"there is no such parameter: they are {', '.join(kind.model_fields)}"
        raise BadRequest(f"{where}: {reason}." if where else f"{reason}.") from None


def _following(request: HttpRequest, before: int | None) -> str | None:
    """The address of the next page."""
    if before is None:
        return None
    query = request.GET.copy()
    query["before"] = str(before)
    return f"{request.path}?{query.urlencode()}"


def _answer(body: dict[str, Any]) -> HttpResponse:
    response = JsonResponse(body)
    response["Cache-Control"] = "no-store"
    return response
