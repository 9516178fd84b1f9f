"""The checks of settings, server, packages and Redis, and that all checks are documented."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application as get_stock_application
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_only_middleware

from notifications.asgi import get_asgi_application
from notifications.checks import packages, serving
from tests.harness.servers import ROOT

MEMORY = {"LOG": "memory"}


def messages_of(*, deploy: bool = False, **settings: Any) -> list[CheckMessage]:
    with override_settings(**{"CARILLON": MEMORY, **settings}):
        return run_checks(tags=["carillon"], include_deployment_checks=deploy)


def ids(*, deploy: bool = False, **settings: Any) -> list[str | None]:
    messages = messages_of(deploy=deploy, **settings)
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def test_a_correct_project_gets_no_messages() -> None:
    assert run_checks(include_deployment_checks=False) == []


def test_every_check_is_documented() -> None:
    sources = [file.read_text() for file in (ROOT / "notifications/checks").glob("*.py")]
    checks = "".join(sources).split("@register(")
    of_checks = [set(re.findall(r'id="(carillon\.[EW]\d{3})"', check)) for check in checks]
    known = set().union(*of_checks)
    assert sum(map(len, of_checks)) == len(known), "two checks share an id"
    assert len(known) == 45
    table = (ROOT / "docs/install.md").read_text()
    assert [id for id in sorted(known) if f"`{id}`" not in table] == []


# E001: settings


def test_each_invalid_setting_is_a_separate_error() -> None:
    errors = messages_of(CARILLON={"LOG": "memory", "NOPE": 1, "HISTORY_AGE": 0})
    assert [error.id for error in errors] == ["carillon.E001", "carillon.E001"]
    assert sorted(error.msg.partition(" ")[0] for error in errors) == [
        'CARILLON["HISTORY_AGE"]',
        'CARILLON["NOPE"]',
    ]
    assert all(error.hint for error in errors)


def test_an_invalid_setting_fails_the_command() -> None:
    with (
        override_settings(CARILLON={"LOG": "memory", "NOPE": 1}),
        pytest.raises(SystemCheckError, match=r"carillon\.E001.*NOPE"),
    ):
        call_command("check")


# W001: the handler


class Wrapper:
    def __init__(self, application: Any) -> None:
        self.inner = application


class CallableWrapper(Wrapper):
    async def __call__(self, *_: Any) -> None: ...


def closure(application: Any) -> Any:
    async def wrapped(*arguments: Any) -> None:
        await application(*arguments)

    return wrapped


def routed(application: Any) -> Any:
    websocket = AuthMiddlewareStack(URLRouter([]))
    return ProtocolTypeRouter({"http": application, "websocket": websocket})


def routed_by_url(application: Any) -> Any:
    return ProtocolTypeRouter({"http": URLRouter([path("", application)])})


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])


WRAPPERS = [
    lambda application: application,
    routed,
    CallableWrapper,
    closure,
    routed_by_url,
    partial(partial, print),
    lambda application: closure(routed(CallableWrapper(application))),
]


@contextmanager
def serving_by(application: Any) -> Iterator[dict[str, Any]]:
    """Settings whose ASGI_APPLICATION is this object."""
    module = ModuleType("an_asgi_module")
    module.application = application  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        yield {"ASGI_APPLICATION": f"{module.__name__}.application"}
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.usefixtures("checking")
def test_djangos_own_handler_is_found_inside_any_wrapper(wrap: Callable[[Any], Any]) -> None:
    with serving_by(wrap(get_stock_application())) as settings:
        assert ids(**settings) == ["carillon.W001"]
    with serving_by(wrap(get_asgi_application())) as settings:
        assert ids(**settings) == []


@pytest.mark.usefixtures("checking")
def test_the_handler_behind_one_for_static_files_is_found() -> None:
    with serving_by(ASGIStaticFilesHandler(get_asgi_application())) as settings:
        assert ids(**settings) == []


@pytest.mark.usefixtures("checking")
def test_an_unknown_handler_gets_no_warning() -> None:
    for unknown in (Wrapper(get_stock_application()), object(), None):
        with serving_by(unknown) as settings:
            assert ids(**settings) == []
    assert ids(ASGI_APPLICATION="no.such.application") == []


@pytest.mark.usefixtures("checking")
def test_an_application_that_contains_itself_is_searched_once() -> None:
    wrapper = CallableWrapper(None)
    wrapper.inner = [wrapper, get_stock_application()]
    with serving_by(wrapper) as settings:
        assert ids(**settings) == ["carillon.W001"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("check --deploy", ["carillon.W001"]),
        ("runserver 8000", ["carillon.W001"]),
        ("carillon serve --port 8001", ["carillon.W001"]),
        ("carillon dev", ["carillon.W001"]),
        ("carillon tail news", []),
        ("migrate", []),
        ("", []),
    ],
)
def test_an_application_is_imported_only_to_be_served_or_checked(
    command: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", *command.split()])
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": "daphne"})
    with serving_by(get_stock_application()) as settings:
        assert ids(**settings) == expected


# W002: WSGI


@pytest.mark.parametrize("application", [None, ""])
def test_streams_without_an_asgi_application_get_a_warning(application: str | None) -> None:
    assert ids(ASGI_APPLICATION=application) == ["carillon.W002"]
    [warning] = messages_of(ASGI_APPLICATION=application)
    assert warning.hint
    assert "/events/ to 'manage.py carillon serve'" in warning.hint


def test_a_project_without_streams_needs_no_asgi_server() -> None:
    module = ModuleType("urls_without_streams")
    module.urlpatterns = []  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    assert ids(ROOT_URLCONF=module.__name__, ASGI_APPLICATION=None) == []
    assert ids(ROOT_URLCONF=None, ASGI_APPLICATION=None) == []
    del sys.modules[module.__name__]


@pytest.mark.parametrize("owner", ["django.core", "django.contrib.staticfiles"])
def test_djangos_own_runserver_gets_a_warning_when_it_runs(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": owner})
    assert ids() == []
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    assert ids() == ["carillon.W002"]
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": "daphne"})
    assert ids() == []


# W003: the namesake


def test_an_installed_package_of_the_same_import_name_gets_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ids() == []
    queried: list[str] = []
    monkeypatch.setattr(packages, "distribution", queried.append)
    assert ids() == ["carillon.W003", "carillon.W003"]
    assert queried == ["django-notifications-hq", "django-notifications-community"]
    for name in queried:
        with pytest.raises(metadata.PackageNotFoundError):
            metadata.distribution(name)


# W004: several logs


@pytest.mark.parametrize("processes", [2, "4"])
def test_several_processes_with_logs_in_memory_get_a_warning(processes: object) -> None:
    assert ids(WEB_CONCURRENCY=processes) == ["carillon.W004"]
    assert ids(WEB_CONCURRENCY=processes, CARILLON={"REDIS_URL": "redis://log"}) == []
    assert ids(WEB_CONCURRENCY=processes, CARILLON={"LOG": "nowhere"}) == ["carillon.E001"]


@pytest.mark.parametrize("processes", [1, "1", None, "auto"])
def test_one_process_may_have_its_log_in_memory(processes: object) -> None:
    assert ids(WEB_CONCURRENCY=processes) == []


def test_serve_refuses_several_processes_with_logs_in_memory() -> None:
    with (
        override_settings(CARILLON=MEMORY),
        pytest.raises(CommandError, match="each of 2 processes would have its own log"),
    ):
        call_command("carillon", "serve", workers=2)


# W005: the cache


def cache(location: Any, backend: str = "django.core.cache.backends.redis", **options: Any) -> Any:
    config = {"BACKEND": f"{backend}.RedisCache", "LOCATION": location, "OPTIONS": options}
    return {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}, "a": config}


@pytest.mark.parametrize(
    ("log", "caches"),
    [
        ("redis://localhost", cache("redis://127.0.0.1:6379")),
        ("redis://localhost/0", cache("redis://:secret@[::1]:6379/0?timeout=1")),
        ("redis://HOST:6380/1", cache("redis://host:6380/1", "django_redis.cache")),
        ("redis://host/1", cache("redis://host", db=1)),
        ("redis://host/1", cache(["redis://other", "redis://host/1"])),
        ("redis://host/1", cache("redis://other; redis://host/1")),
        ("rediss://host/1", cache("redis://host/1")),
        ("unix:///run/redis.sock", cache("unix:///run/redis.sock?db=0")),
    ],
)
def test_a_cache_in_the_same_database_gets_a_warning(log: str, caches: Any) -> None:
    assert ids(CARILLON={"REDIS_URL": log}, CACHES=caches) == ["carillon.W005"]


@pytest.mark.parametrize(
    ("log", "caches"),
    [
        ("redis://localhost/1", cache("redis://localhost/0")),
        ("redis://localhost/1", cache("redis://localhost:6380/1")),
        ("redis://localhost/1", cache("redis://elsewhere/1")),
        ("redis://localhost/0", cache("not a url")),
        ("redis://localhost/0", cache(None)),
        ("redis://localhost/0", {"a": {"BACKEND": "other.Cache", "LOCATION": "redis://localhost"}}),
    ],
)
def test_a_cache_in_another_database_gets_none(log: str, caches: Any) -> None:
    assert ids(CARILLON={"REDIS_URL": log}, CACHES=caches) == []


def test_a_log_in_memory_shares_no_database_with_a_cache() -> None:
    assert ids(CACHES=cache("redis://localhost")) == []


# W007: preflights


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, ["carillon.W007"]),
        (("accept", "authorization"), ["carillon.W007"]),
        (("accept", "Last-Event-ID"), []),
        (["*"], []),
    ],
)
def test_preflights_of_django_cors_headers_must_allow_last_event_id(
    headers: object, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {} if headers is None else {"CORS_ALLOW_HEADERS": headers}
    assert ids(**settings) == []
    installed = SimpleNamespace(is_installed=lambda name: name == "corsheaders")
    monkeypatch.setattr(packages, "apps", installed)
    assert ids(**settings) == expected


# W008: middleware


@sync_only_middleware
def only_synchronous(get_response: Any) -> Any:
    return get_response


def test_a_synchronous_middleware_gets_a_warning() -> None:
    name = f"{__name__}.only_synchronous"
    assert ids(MIDDLEWARE=[*django_settings.MIDDLEWARE, name]) == ["carillon.W008"]


def test_a_middleware_that_cannot_be_imported_is_left_to_django() -> None:
    assert ids(MIDDLEWARE=["tests.no_such.middleware"]) == []
