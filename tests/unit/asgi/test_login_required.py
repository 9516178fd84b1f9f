"""Middleware that requires a login of every visitor leaves the views of the service alone."""

from collections.abc import Callable
from typing import Any

import pytest
from channels.routing import URLRouter
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import include, path
from django.utils.deprecation import MiddlewareMixin
from django.views import View

from config.urls import urlpatterns as project
from notifications.access.identities.signed_links import events_url
from notifications.asgi.handler import CarillonASGIHandler
from notifications.asgi.marker import nonblocking
from notifications.asgi.responses import EventStreamResponse
from notifications.routing import websocket_urlpatterns
from tests import settings as default
from tests.harness.asgi import Connection
from tests.harness.servers import PUBLISH_KEY
from tests.harness.websocket_client import WebSocketClient

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends", "known_tables")

MIDDLEWARE = {
    "Django": "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django-login-required-middleware": "login_required.middleware.LoginRequiredMiddleware",
    "django-stronghold": "stronghold.middleware.LoginRequiredMiddleware",
}
# django-stronghold calls a view that needs a login without awaiting it: an async view is a 500.
WITH_ASYNC_VIEWS = {name: MIDDLEWARE[name] for name in MIDDLEWARE if name != "django-stronghold"}
HANDLERS = {"ours": CarillonASGIHandler, "Django's": ASGIHandler}
LINK = events_url("orders.1")
OPEN = {
    "/events/?topic=demo.a": 200,
    "/events?topic=demo.a": 200,
    LINK: 200,
    "/events/?topic=private": 403,
    "/events/history.csv?topic=demo.a": 200,
    "/events/history.ndjson?topic=demo.a": 200,
    "/events/history.json?topic=demo.a": 200,
    "/publish/": 405,
    "/publish": 405,
    "/health/live": 200,
    "/health/ready": 200,
    "/health/publish": 200,
    "/metrics": 403,
    "/openapi.json": 200,
}


class KnownUser(MiddlewareMixin):
    """The user of a request that has the cookie `known`."""

    def process_request(self, request: HttpRequest) -> None:
        if "known" in request.COOKIES:
            request.user = User(pk=1, username="ada")


@nonblocking
async def own_view(request: HttpRequest) -> EventStreamResponse:
    return EventStreamResponse(["t"])


class OwnView(View):
    async def get(self, request: HttpRequest) -> EventStreamResponse:
        return EventStreamResponse(["t"])


urlpatterns = [
    *project,
    path("own/", own_view),
    path("own/class/", OwnView.as_view()),
    path("eventstream/", include("notifications.compat.eventstream")),
]


def site(middleware: str) -> Any:
    names = [*default.MIDDLEWARE, f"{__name__}.KnownUser", middleware]
    return override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=names, LOGIN_URL="/login/")


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("middleware", MIDDLEWARE.values(), ids=MIDDLEWARE)
async def test_the_views_of_the_service_judge_for_themselves(
    middleware: str, handler: Callable[[], Any]
) -> None:
    with site(middleware):
        application = handler()
        for url, expected in {**OPEN, "/eventstream/?channel=a": 200}.items():
            async with Connection(application, url) as connection:
                assert connection.status == expected, url
        for url in ("/", "/nowhere/?link=secret"):
            async with Connection(application, url) as connection:
                assert connection.status in (302, 404), url


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("middleware", WITH_ASYNC_VIEWS.values(), ids=WITH_ASYNC_VIEWS)
async def test_a_stream_of_an_own_view_is_for_users_who_are_logged_in(
    middleware: str, handler: Callable[[], Any]
) -> None:
    with site(middleware):
        application = handler()
        for url in ("/own/", "/own/class/"):
            async with Connection(application, url) as connection:
                assert connection.status == 302
            async with Connection(application, url, cookie="known=1") as connection:
                assert connection.status == 200


@pytest.mark.parametrize("middleware", MIDDLEWARE.values(), ids=MIDDLEWARE)
def test_the_same_under_wsgi(middleware: str) -> None:
    with site(middleware):
        client = Client()
        assert client.get("/health/live").status_code == 200
        assert client.get("/events/?topic=demo.a").status_code == 501
        body, key = {"topic": "demo.a", "data": "x"}, {"Authorization": f"Bearer {PUBLISH_KEY}"}
        published = client.post("/publish/", body, content_type="application/json", headers=key)
        assert published.status_code == 201
        assert client.post("/publish/").status_code == 401


@pytest.mark.usefixtures("no_request_threads")
@pytest.mark.parametrize("middleware", MIDDLEWARE.values(), ids=MIDDLEWARE)
async def test_a_websocket_is_judged_by_its_own_view(middleware: str) -> None:
    with site(middleware):
        async with WebSocketClient(URLRouter(websocket_urlpatterns)) as client:
            assert (await client.subscribe("a", "demo.a"))["topics"] == ["demo.a"]
