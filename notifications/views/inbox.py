"""`GET /inbox/`: a person's notifications. `POST /inbox/read` and the like: what they did."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from pydantic import Field, model_validator

from notifications.access.identities.authentication import TOKEN_PARAMETER
from notifications.access.identities.base import Identity
from notifications.conf.namespace import enter
from notifications.hub.page_cursor import acursor
from notifications.inbox.changes import Action, mark
from notifications.inbox.lists import DEFAULT_LIMIT, MAX_LIMIT, Page, counts, page
from notifications.views.bodies import FORM_TYPES
from notifications.views.inbox_requests import (
    Parameters,
    answer,
    database,
    form_fields,
    identity_of_person,
    json_object,
    parsed,
    user_of,
)
from notifications.views.problems import AsyncView, check_method, problem_responses

MAX_IDS = 1_000
MAX_NUMBER = 2**63 - 1


Number = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
"""Below 0 are notifications that were imported."""


class ListParameters(Parameters):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    before: Number | None = None
    state: Literal["", "unseen", "unread", "read", "archived", "all"] = ""
    category: str | None = None
    kind: str | None = None
    id: Annotated[list[UUID], Field(max_length=MAX_LIMIT)] = []


class Marked(Parameters):
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
    parameters = parsed(ListParameters, _query(request))
    identity = await identity_of_person(request)
    cursor = await acursor(request)
    found, counted = await sync_to_async(_read)(identity, parameters)
    following = _following(request, found.before)
    body = {
        "notifications": found.notifications,
        "counts": counted,
        "next": following,
        "cursor": cursor,
    }
    return answer(body)


def action(name: Action) -> AsyncView:
    """The view of one action: `POST /inbox/read`."""

    @problem_responses
    async def act(request: HttpRequest) -> HttpResponseBase:
        check_method(request, "POST", detail="Changing an inbox is a POST.")
        identity = await identity_of_person(request)
        marked = parsed(Marked, _body(request))
        changed, counted = await sync_to_async(_mark)(identity, name, marked)
        if request.content_type in FORM_TYPES:
            return HttpResponseRedirect(reverse("carillon:inbox-page"), status=303)
        return answer({"changed": changed, "counts": counted})

    return act


def _read(identity: Identity, parameters: ListParameters) -> tuple[Page, dict[str, Any]]:
    chosen = parameters.model_dump(exclude={"id"})
    with database(), enter(identity.namespace):
        return page(user_of(identity), ids=parameters.id, **chosen), counts(user_of(identity))


def _mark(identity: Identity, name: Action, marked: Marked) -> tuple[int, dict[str, Any]]:
    with database(), enter(identity.namespace):
        changed = mark(user_of(identity), name, **marked.model_dump())
        return changed, counts(user_of(identity))


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
            for name, values in form_fields(request)
        }
    return json_object(request, example='{"ids": […]} or {"up_to": 17}')


def _following(request: HttpRequest, before: int | None) -> str | None:
    """The address of the next page."""
    if before is None:
        return None
    query = request.GET.copy()
    query["before"] = str(before)
    return f"{request.path}?{query.urlencode()}"
