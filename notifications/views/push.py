"""`/inbox/push`: the devices that take a person's push messages, and where a click on one leads.

`GET /inbox/push` is the key for `PushManager.subscribe`, `POST` a subscription as the browser
writes it (`PushSubscription.toJSON()`), and `POST /inbox/push/forget` ends one.
"""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from pydantic import Field

from notifications.access.identities.base import Identity, Kind
from notifications.asgi.marker import judges_itself
from notifications.conf.namespace import enter
from notifications.errors import BadRequest, Invalid, MethodNotAllowed, NotFound
from notifications.inbox.changes import Action, mark
from notifications.inbox.channels import MAX_ENDPOINT_CHARACTERS
from notifications.inbox.push.devices import subscribe, unsubscribe
from notifications.inbox.push.offer import browser_key
from notifications.inbox.push.sessions import remember
from notifications.inbox.table import rows
from notifications.views.bodies import FORM_TYPES
from notifications.views.inbox_page import SAFE_METHODS, page_of_person
from notifications.views.inbox_requests import (
    Parameters,
    answer,
    database,
    identity_of_person,
    json_object,
    parsed,
    user_of,
)
from notifications.views.problems import check_method, problem_or_page, problem_responses

WORKER = Path(__file__).parents[1] / "static/carillon/worker.js"
EXAMPLE = '{"endpoint": "https://…", "keys": {"p256dh": "…", "auth": "…"}}'

Endpoint = Annotated[str, Field(max_length=MAX_ENDPOINT_CHARACTERS)]


class DeviceKeys(Parameters):
    """The keys that a message is encrypted for (RFC 8291 §2), as base64url."""

    p256dh: Annotated[str, Field(max_length=100)]
    auth: Annotated[str, Field(max_length=32)]


class PushSubscription(Parameters):
    """What `PushSubscription.toJSON()` is in a browser."""

    endpoint: Endpoint
    keys: DeviceKeys
    expirationTime: float | None = None  # noqa: N815 - the name of the Push API


class Forgotten(Parameters):
    """One device; without an endpoint all of the person's."""

    endpoint: Endpoint | None = None


def push_schemas() -> dict[str, Any]:
    """The JSON Schemas of what is sent here, by their names."""
    subscription = PushSubscription.model_json_schema(ref_template="#/components/schemas/{model}")
    forgotten = Forgotten.model_json_schema()
    return {
        **subscription.pop("$defs"),
        "PushSubscription": subscription,
        "ForgottenDevice": forgotten,
    }


@problem_responses
async def push(request: HttpRequest) -> HttpResponseBase:
    """The site's key, or a device that from now on takes the push messages of the person."""
    check_method(request, "GET", "HEAD", "POST", detail="A device subscribes by a POST.")
    key = _key()
    identity = await identity_of_person(request)
    if request.method == "POST":
        wanted = parsed(PushSubscription, json_object(request, example=EXAMPLE))
        await sync_to_async(_subscribe)(request, identity, wanted)
    return answer({"key": key})


@problem_responses
async def forget(request: HttpRequest) -> HttpResponseBase:
    """Ends the subscription of a device, or of all. A form leads back to the preferences."""
    check_method(request, "POST", detail="A device is forgotten by a POST.")
    key = _key()
    identity = await identity_of_person(request)
    is_form = request.content_type in FORM_TYPES
    sent = {} if is_form else json_object(request, example='{"endpoint": "https://…"}')
    await sync_to_async(_forget)(identity, parsed(Forgotten, sent).endpoint)
    if is_form:
        return HttpResponseRedirect(reverse("carillon:preferences-page"), status=303)
    return answer({"key": key})


def _key() -> str:
    """Raises `NotFound` where there are no push messages."""
    if key := browser_key():
        return key
    raise NotFound("This site sends no push messages: CARILLON['PUSH_KEY'] is not set.")


def _subscribe(request: HttpRequest, identity: Identity, wanted: PushSubscription) -> None:
    from notifications.inbox.push.keys import check_device_keys

    try:
        check_device_keys(wanted.keys.p256dh, wanted.keys.auth)
    except ValueError as error:
        raise BadRequest(f"keys: no message can be encrypted for these: {error}.") from None
    with database(), enter(identity.namespace):
        try:
            device = subscribe(
                user_of(identity),
                endpoint=wanted.endpoint,
                p256dh=wanted.keys.p256dh,
                auth=wanted.keys.auth,
            )
        except Invalid as error:
            raise BadRequest(error.detail) from None
        if identity.kind is Kind.SESSION:
            remember(request, device)


def _forget(identity: Identity, endpoint: str | None) -> None:
    with database(), enter(identity.namespace):
        unsubscribe(user_of(identity), endpoint)


# In the browser


@judges_itself
@csrf_exempt
def worker(request: HttpRequest) -> HttpResponseBase:
    """The service worker: from the site's own origin, where static files need not be."""
    if request.method not in SAFE_METHODS:
        error = MethodNotAllowed("A service worker is read by a GET.", allowed=SAFE_METHODS)
        return problem_or_page(request, error)
    response = HttpResponse(WORKER.read_bytes(), content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@page_of_person(
    otherwise="A notification is followed by a GET.",
    away="The inbox cannot be reached now: try again.",
)
def follow(request: HttpRequest, user: AbstractBaseUser, id: UUID) -> HttpResponseBase:
    """Where a click on a push message leads: to the notification's address, and it is read then."""
    row = rows().filter(pk=id, recipient_id=user.pk).first()
    if row is not None and request.method == "GET":
        mark(user, Action.READ, ids=[id])
    return HttpResponseRedirect(_address(row.url if row is not None else ""))


def _address(url: str) -> str:
    """Of the notification, or of all of them where it has none that a browser follows."""
    with suppress(ValueError):  # what `notify` takes need not be one
        if url and urlsplit(url).scheme in ("", "http", "https"):
            return urljoin("/", url)
    return reverse("carillon:inbox-page")
