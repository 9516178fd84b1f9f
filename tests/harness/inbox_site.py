"""A site with a bell: `/try/` is a page that has it, under a strict Content-Security-Policy.

`/try/enter/<name>` logs in without a password, `/try/leave` out, `/try/notify/<name>` notifies that
person (with the parameters of `notify`), `/try/withdraw/<name>` takes back what replaces,
`/try/state/<name>` is what the database says, and `/try/deliver` sends what is due `after` so many
seconds. With a key for push messages there is the kind `try.parcel`.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import RequestContext, Template
from django.urls import include, path
from django.utils import timezone
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt

from notifications import notify
from notifications.conf import get_settings
from notifications.inbox import Email, Priority, Push, category, kind, lists, send_due, withdraw
from notifications.views.security_headers import protect

ORDERS = category("orders", title="Orders", choices={"in-app": "on"}, email=Email())
ORDER = kind("try.order", text="Order <b>{{ number }}</b> was paid", category="orders")
if get_settings().PUSH_KEY:
    category("parcels", title="Parcels", push=Push(), email=Email(after=timedelta(hours=1)))
    kind("try.parcel", text="Parcel {{ number }} is here", category="parcels")
LANGUAGE = kind("try.language", text=gettext_lazy("Archive"))
PAGE = Template(
    """{% load carillon i18n static %}{% get_current_language as language %}<!doctype html>
<html lang="{{ language }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Shop</title>
<link rel="stylesheet" href="{% static 'carillon/page.css' %}">
<header class="top"><a class="brand" href="/try/">Shop</a>{% carillon_bell limit=limit %}</header>
<main><h1>Shop</h1></main>
"""
)


def page(request: HttpRequest) -> HttpResponse:
    limit = int(request.GET.get("limit", 20))
    return protect(HttpResponse(PAGE.render(RequestContext(request, {"limit": limit}))))


def person(name: str) -> Any:
    columns = {"email": f"{name}@example.com"}
    return get_user_model().objects.get_or_create(username=name, defaults=columns)[0]


def enter(request: HttpRequest, name: str) -> HttpResponse:
    login(request, person(name), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(name)


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


@csrf_exempt
def send(request: HttpRequest, name: str) -> HttpResponse:
    options: dict[str, Any] = request.GET.dict()
    count = int(options.pop("count", 1))
    priority = Priority[options.pop("priority", "normal").upper()]
    about = options.pop("kind", "message")
    number_or_text = "text" if about == "message" else "number"
    text = options.pop("text", "")
    for each in range(count):
        params = {number_or_text: f"{text} {each}" if count > 1 else text}
        notify(person(name), about, params, priority=priority, **options)
    return HttpResponse(status=204)


@csrf_exempt
def take_back(request: HttpRequest, name: str) -> HttpResponse:
    return JsonResponse({"withdrawn": withdraw(person(name), replaces=request.GET["replaces"])})


def state(request: HttpRequest, name: str) -> JsonResponse:
    found = lists.page(person(name), limit=lists.MAX_LIMIT)
    shown = [[entry["text"], entry["state"]] for entry in found.notifications]
    counts = lists.counts(person(name))
    return JsonResponse({"list": shown, "counts": [counts["unseen"], counts["unread"]]})


@csrf_exempt
def deliver(request: HttpRequest) -> JsonResponse:
    after = timedelta(seconds=float(request.GET.get("after", 0)))
    return JsonResponse(asdict(send_due(now=timezone.now() + after)))


urlpatterns = [
    path("try/", page),
    path("try/enter/<name>", enter),
    path("try/leave", leave),
    path("try/whoami", lambda request: JsonResponse(request.user.pk, safe=False)),
    path("try/notify/<name>", send),
    path("try/withdraw/<name>", take_back),
    path("try/state/<name>", state),
    path("try/deliver", deliver),
    path("", include("config.urls")),
]
