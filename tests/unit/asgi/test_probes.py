"""Probes by address and in plain HTTP, under our handler and under those of Django."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path

from config.urls import urlpatterns as project
from notifications.asgi.handler import CarillonASGIHandler
from notifications.views import health
from notifications.views.metrics import metrics
from tests import settings as default
from tests.harness.asgi import Connection

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends", "known_tables")

MIDDLEWARE = "notifications.asgi.probes.ProbeMiddleware"
HOST = b"10.1.2.3:8000"
HANDLERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "ours": (CarillonASGIHandler, ()),
    "Django's": (ASGIHandler, (MIDDLEWARE,)),
}
SITES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything redirects": {
        "SECURE_SSL_REDIRECT": True,
        "PREPEND_WWW": True,
        "APPEND_SLASH": True,
    },
    "a sub-path": {"FORCE_SCRIPT_NAME": "/app"},
}
PROBES = {
    "/health/live": 200,
    "/health/ready": 200,
    "/metrics": 401,
    "/slashed/live/": 200,
    "/en/health/live": 200,
}


def for_staff(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    async def restricted(request: HttpRequest) -> HttpResponse:
        raise AssertionError("a middleware comes before this view")

    return restricted


urlpatterns = [
    path("slashed/live/", health.live),
    path("restricted/live", for_staff(health.live)),
    path("captured/<int:number>/", health.live),
    path("hidden/", lambda _: HttpResponse("hidden")),
    *project,
    *i18n_patterns(path("health/live", health.live), path("metrics", metrics)),
]


def site(middleware: tuple[str, ...] = (), **settings: Any) -> Any:
    names = [*middleware, *default.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    carillon = {**default.CARILLON, "METRICS_KEYS": ["a-key-that-reads-metrics"]}
    return override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=names, CARILLON=carillon, **settings)


async def answer(application: Any, url: str, method: str = "GET") -> tuple[int, dict[bytes, bytes]]:
    connection = Connection(application, url, method=method)
    scope: dict[str, Any] = connection.scope
    headers = [pair for pair in scope["headers"] if pair[0] != b"host"]
    scope["headers"] = [(b"host", HOST), *headers]
    async with connection:
        return connection.status, {name.lower(): value for name, value in connection.headers}


@pytest.mark.parametrize("changed", SITES.values(), ids=SITES)
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
async def test_probes_are_answered_by_address_and_nothing_else_is(
    handler: tuple[Any, tuple[str, ...]], changed: dict[str, Any]
) -> None:
    with site(handler[1], **changed):
        application = handler[0]()
        for url, expected in PROBES.items():
            for prefix in ("", changed.get("FORCE_SCRIPT_NAME", "")):
                for method in ("GET", "HEAD"):
                    status, headers = await answer(application, prefix + url, method)
                    assert status == expected, (prefix + url, method)
                    assert headers[b"x-content-type-options"] == b"nosniff"
                    assert not {b"location", b"set-cookie"} & headers.keys()
                    assert HOST not in b" ".join(headers.values())
        for url in ("/", "/events/?topic=demo.a", "/restricted/live", "/captured/1/", "/hidden/"):
            assert (await answer(application, url))[0] in (301, 400), url
        assert (await answer(application, "/health/live", "POST"))[0] in (301, 400)


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
async def test_a_slash_that_is_missing_is_no_redirect(handler: tuple[Any, tuple[str, ...]]) -> None:
    with site(handler[1], APPEND_SLASH=True):
        application = handler[0]()
        assert (await answer(application, "/slashed/live"))[0] == 200
        assert (await answer(application, "/hidden"))[0] == 400


@pytest.mark.django_db  # Django's signals may find a connection of another test
def test_probes_are_answered_by_address_under_wsgi() -> None:
    with site((MIDDLEWARE,), SECURE_SSL_REDIRECT=True):
        handler = WSGIHandler()
        for url, expected in {"/health/live": 200, "/metrics": 401, "/hidden/": 400}.items():
            environ = RequestFactory().get(url, headers={"host": HOST.decode()}).environ
            statuses: list[str] = []
            handler({**environ}, lambda status, _, seen=statuses: seen.append(status)).close()
            assert statuses[0].startswith(str(expected)), url


@pytest.mark.parametrize("handler", [ASGIHandler])
async def test_without_the_middleware_django_s_handler_refuses_them(handler: Any) -> None:
    with site():
        assert (await answer(handler(), "/health/live"))[0] == 400
