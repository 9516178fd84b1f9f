"""What `manage.py check` says of what bites streams: middleware, databases, and servers."""

import asyncio
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from django.views import View

from notifications.checks import middleware as middleware_checks
from notifications.handler import surroundings
from notifications.handler.surroundings import look_once
from tests.servers import RedisServer, web_server
from tests.streams import subscribe
from tests.test_checks import found, ids

GZIP = "django.middleware.gzip.GZipMiddleware"
REDIS = {"REDIS_URL": "redis://log"}


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])


def behind(*names: str) -> list[str]:
    """The middleware of this module, after those that the project has."""
    return [*django_settings.MIDDLEWARE, *(f"{__name__}.{name}" for name in names)]


# W021, W022, W023: middleware


class Measuring(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers["X-Size"] = str(len(response.content))
        return response


class MeasuringPages(Measuring):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if getattr(response, "content", None) is None:
            return response
        return super().process_response(request, response)


class Collecting(MiddlewareMixin):
    async def __acall__(self, request: HttpRequest) -> Any:
        get_response: Any = self.get_response
        response = await get_response(request)
        return HttpResponse(b"".join([block async for block in response.streaming_content]))


class Pairing(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: Any) -> Any:
        async def pairs(blocks: Any) -> Any:
            async for block in blocks:
                yield block + await anext(blocks, b"")

        response.streaming_content = pairs(response.streaming_content)
        return response


class Counting(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: Any) -> Any:
        async def counted(blocks: Any) -> Any:
            async for block in blocks:
                yield block

        response.streaming_content = counted(response.streaming_content)
        return response


class Naming(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: Any) -> Any:
        response.headers["X-Served-By"] = "here"
        return response


class NeedingASession(Measuring):
    def process_request(self, request: Any) -> None:
        request.session["seen"] = True


class Refusing(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=503)


class Hanging(MiddlewareMixin):
    async def __acall__(self, request: HttpRequest) -> Any:
        await asyncio.Event().wait()


@pytest.mark.usefixtures("checking")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Measuring", ["carillon.W021"]),
        ("Collecting", ["carillon.W022"]),
        ("Pairing", ["carillon.W022"]),
        ("Counting", ["carillon.W023"]),
        ("MeasuringPages", []),
        ("Naming", []),
        ("NeedingASession", []),
        ("Refusing", []),
    ],
)
def test_a_middleware_is_known_by_what_it_does_to_a_stream(name: str, expected: list[str]) -> None:
    assert ids(MIDDLEWARE=behind(name)) == expected


@pytest.mark.usefixtures("checking")
def test_compressing_streams_is_warned_of_whatever_django_makes_of_it() -> None:
    expected = "carillon.W022" if django.VERSION[:2] == (6, 0) else "carillon.W023"
    assert ids(MIDDLEWARE=[GZIP, *django_settings.MIDDLEWARE]) == [expected]


@pytest.mark.usefixtures("checking")
def test_a_middleware_that_never_answers_holds_up_no_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(middleware_checks, "TIMEOUT", 0.05)
    assert ids(MIDDLEWARE=behind("Hanging")) == []


def test_a_middleware_is_tried_only_where_it_is_served_or_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
    assert ids(MIDDLEWARE=behind("Measuring")) == []


# W024 and W025: databases


def databases(**options: Any) -> dict[str, Any]:
    return {"default": {**django_settings.DATABASES["default"], **options}}


@pytest.mark.parametrize(
    ("age", "expected"), [(60, ["carillon.W024"]), (None, ["carillon.W024"]), (0, [])]
)
def test_connections_that_outlive_requests_are_warned_of_under_asgi(
    age: object, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(django_settings, "DATABASES", databases(CONN_MAX_AGE=age))
    assert ids() == expected
    assert ids(ASGI_APPLICATION=None) == ["carillon.W002"]


async def asynchronous(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse()


@transaction.non_atomic_requests
async def not_atomic(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse()


class Asynchronous(View):
    async def get(self, request: HttpRequest) -> HttpResponseBase:
        return HttpResponse()


def synchronous(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse()


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (asynchronous, ["carillon.W025"]),
        (Asynchronous.as_view(), ["carillon.W025"]),
        (not_atomic, []),
        (synchronous, []),
    ],
)
def test_async_views_in_atomic_requests_are_named(
    view: Callable[..., Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from config import urls

    module = ModuleType("urls_of_a_view")
    module.urlpatterns = [*urls.urlpatterns, path("view", view)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(django_settings, "DATABASES", databases(ATOMIC_REQUESTS=True))
    warnings = found(ROOT_URLCONF=module.__name__)
    assert [warning.id for warning in warnings] == expected
    assert all(__name__ in warning.msg for warning in warnings)


# W004, W026 and W027: servers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('workers = 4\ntimeout = 30\nworker_class = "sync"', ["carillon.W026"]),
        ('worker_class = "gthread"', ["carillon.W026"]),
        ('worker_class = "uvicorn_worker.UvicornWorker"\nworkers = 4', []),
        ("workers = 4", []),
        ('import os\nworker_class = os.environ["CLASS"]', []),
        ("worker_class = (", []),
    ],
)
def test_what_gunicorn_is_told_in_its_file_is_read(
    text: str, expected: list[str], folder: Path
) -> None:
    (folder / "gunicorn.conf.py").write_text(text)
    assert ids(CARILLON=REDIS) == expected


def test_what_gunicorn_is_told_by_its_variable_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gunicorn.conf.py").write_text('worker_class = "uvicorn_worker.UvicornWorker"')
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--bind=:80 -k sync --timeout 60")
    [warning] = found(CARILLON=REDIS)
    assert warning.id == "carillon.W026"
    assert "GUNICORN_CMD_ARGS" in warning.msg
    assert "60 s" in warning.msg


def test_workers_that_gunicorn_or_a_variable_asks_for_need_one_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-k uvicorn_worker.UvicornWorker -w 4")
    assert ids() == ["carillon.W004"]
    assert ids(CARILLON=REDIS) == []
    monkeypatch.delenv("GUNICORN_CMD_ARGS")
    assert ids(WEB_CONCURRENCY=None) == []
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert ids(WEB_CONCURRENCY=None) == ["carillon.W004"]
    assert ids(WEB_CONCURRENCY=1) == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("runserver --http_timeout 30", ["carillon.W027"]),
        ("runserver --http_timeout=30 8000", ["carillon.W027"]),
        ("runserver", []),
        ("runserver --http_timeout soon", []),
        ("migrate --http_timeout 30", []),
    ],
)
def test_a_runserver_that_ends_streams_is_warned_of(
    command: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", *command.split()])
    assert ids() == expected


# From inside a server that runs


class Config:
    timeout_graceful_shutdown: int | None = None
    callback_notify = None
    workers = 1


Config.__module__ = "uvicorn.config"


class Cycle:
    def __init__(self, **config: Any) -> None:
        told = Config()
        vars(told).update(config)
        self.transport = SimpleNamespace(get_protocol=lambda: SimpleNamespace(config=told))

    async def send(self, message: Any) -> None: ...


class Server:
    http_timeout = 30.0

    def handle_reply(self, request: Any, message: Any) -> None: ...


Server.__module__ = "daphne.server"


@pytest.mark.parametrize(
    ("send", "said"),
    [
        (Cycle().send, "server.never_stops"),
        (Cycle(timeout_graceful_shutdown=5).send, ""),
        (Cycle(callback_notify=print).send, ""),
        (Cycle(timeout_graceful_shutdown=5, workers=2).send, "server.several_logs workers=2"),
        (partial(Server().handle_reply, None), "server.http_timeout seconds=30"),
        (print, ""),
        (None, ""),
    ],
)
def test_a_running_server_is_asked_once_what_it_was_told(
    send: Any, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(surroundings, "_looked", False)
    with caplog.at_level(logging.WARNING, "carillon"):
        look_once(send)
        assert said in caplog.text
        assert bool(caplog.records) is bool(said)
        look_once(send)
    assert len(caplog.records) == bool(said)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("daphne -v 0 --http-timeout 600 config.asgi:application", "server.http_timeout"),
        ("uvicorn config.asgi:application", "server.never_stops"),
    ],
)
async def test_a_real_server_is_asked_when_its_first_stream_opens(
    command: str, said: str, redis: RedisServer, tmp_path: Path
) -> None:
    with web_server(command.split(), redis_url=redis.url, folder=tmp_path) as server:
        async with subscribe(server.port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
    assert server.log.read_text().count(said) == 1
