"""What `manage.py check` says."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
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
from notifications.checks import redis as redis_checks
from tests.harness.servers import ROOT, RedisServer, free_port, listening, redis_server
from tests.harness.silent_redis import silent_redis

MEMORY = {"LOG": "memory"}


def found(*, deploy: bool = False, **settings: Any) -> list[CheckMessage]:
    with override_settings(**{"CARILLON": MEMORY, **settings}):
        return run_checks(tags=["carillon"], include_deployment_checks=deploy)


def ids(*, deploy: bool = False, **settings: Any) -> list[str | None]:
    messages = found(deploy=deploy, **settings)
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def test_a_project_that_is_right_has_nothing_to_say() -> None:
    assert run_checks(include_deployment_checks=False) == []


def test_every_check_is_listed_where_it_is_installed() -> None:
    sources = [file.read_text() for file in (ROOT / "notifications/checks").glob("*.py")]
    known = set(re.findall(r'id="(carillon\.[EW]\d{3})"', " ".join(sources)))
    assert len(known) == 28
    table = (ROOT / "docs/install.md").read_text()
    assert [id for id in sorted(known) if f"`{id}`" not in table] == []


# E001: settings


def test_each_setting_that_is_wrong_is_an_error_of_its_own() -> None:
    errors = found(CARILLON={"LOG": "memory", "NOPE": 1, "HISTORY_AGE": 0})
    assert [error.id for error in errors] == ["carillon.E001", "carillon.E001"]
    assert sorted(error.msg.partition(":")[0] for error in errors) == [
        "CARILLON['HISTORY_AGE']",
        "CARILLON['NOPE']",
    ]
    assert all(error.hint for error in errors)


def test_a_wrong_setting_fails_the_command() -> None:
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
    """Settings whose ASGI_APPLICATION it is."""
    module = ModuleType("an_asgi_module")
    module.application = application  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        yield {"ASGI_APPLICATION": f"{module.__name__}.application"}
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.usefixtures("checking")
def test_djangos_own_handler_is_found_wherever_it_is(wrap: Callable[[Any], Any]) -> None:
    with serving_by(wrap(get_stock_application())) as settings:
        assert ids(**settings) == ["carillon.W001"]
    with serving_by(wrap(get_asgi_application())) as settings:
        assert ids(**settings) == []


@pytest.mark.usefixtures("checking")
def test_a_handler_for_static_files_in_front_is_looked_behind() -> None:
    with serving_by(ASGIStaticFilesHandler(get_asgi_application())) as settings:
        assert ids(**settings) == []


@pytest.mark.usefixtures("checking")
def test_what_cannot_be_known_of_a_handler_is_not_said() -> None:
    for unknown in (Wrapper(get_stock_application()), object(), None):
        with serving_by(unknown) as settings:
            assert ids(**settings) == []
    assert ids(ASGI_APPLICATION="no.such.application") == []


@pytest.mark.usefixtures("checking")
def test_an_application_that_holds_itself_is_looked_through_once() -> None:
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
def test_streams_without_an_asgi_application_are_warned_of(application: str | None) -> None:
    assert ids(ASGI_APPLICATION=application) == ["carillon.W002"]
    [warning] = found(ASGI_APPLICATION=application)
    assert warning.hint
    assert "/events/ alone to 'manage.py carillon serve'" in warning.hint


def test_streams_that_are_not_served_here_need_no_server() -> None:
    module = ModuleType("urls_without_streams")
    module.urlpatterns = []  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    assert ids(ROOT_URLCONF=module.__name__, ASGI_APPLICATION=None) == []
    assert ids(ROOT_URLCONF=None, ASGI_APPLICATION=None) == []
    del sys.modules[module.__name__]


@pytest.mark.parametrize("owner", ["django.core", "django.contrib.staticfiles"])
def test_djangos_own_runserver_is_warned_of_when_it_runs(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": owner})
    assert ids() == []
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    assert ids() == ["carillon.W002"]
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": "daphne"})
    assert ids() == []


# W003: the namesake


def test_a_namesake_that_is_installed_too_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids() == []
    asked: list[str] = []
    monkeypatch.setattr(packages, "distribution", asked.append)
    assert ids() == ["carillon.W003"]
    assert asked == ["django-notifications-hq"]
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.distribution(asked[0])


# W004: several logs


@pytest.mark.parametrize("processes", [2, "4"])
def test_a_log_in_memory_is_for_one_process(processes: object) -> None:
    assert ids(WEB_CONCURRENCY=processes) == ["carillon.W004"]
    assert ids(WEB_CONCURRENCY=processes, CARILLON={"REDIS_URL": "redis://log"}) == []
    assert ids(WEB_CONCURRENCY=processes, CARILLON={"LOG": "nowhere"}) == ["carillon.E001"]


@pytest.mark.parametrize("processes", [1, "1", None, "auto"])
def test_one_process_may_have_its_log_in_memory(processes: object) -> None:
    assert ids(WEB_CONCURRENCY=processes) == []


def test_serving_by_several_processes_with_a_log_in_memory_is_refused() -> None:
    with (
        override_settings(CARILLON=MEMORY),
        pytest.raises(CommandError, match="each of 2 processes would have a log of its own"),
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
def test_a_cache_in_the_same_database_is_warned_of(log: str, caches: Any) -> None:
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
def test_a_cache_elsewhere_is_not(log: str, caches: Any) -> None:
    assert ids(CARILLON={"REDIS_URL": log}, CACHES=caches) == []


def test_a_log_in_memory_shares_with_no_cache() -> None:
    assert ids(CACHES=cache("redis://localhost")) == []


# W006: eviction


def test_a_redis_that_may_evict_the_log_is_warned_of(tmp_path: Path) -> None:
    options = ("--maxmemory-policy", "allkeys-lru")
    with redis_server(tmp_path, options=options) as server:
        assert ids(deploy=True, CARILLON={"REDIS_URL": server.url}) == ["carillon.W006"]
        assert ids(CARILLON={"REDIS_URL": server.url}) == []


def test_a_redis_that_evicts_nothing_is_not(redis: RedisServer) -> None:
    assert ids(deploy=True, CARILLON={"REDIS_URL": redis.url}) == []


def test_a_redis_that_is_away_or_silent_neither_fails_nor_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ids(deploy=True, CARILLON={"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}) == []
    monkeypatch.setattr(redis_checks, "TIMEOUT", 0.05)
    with listening() as nobody:
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        assert ids(deploy=True, CARILLON={"REDIS_URL": url}) == []
    with silent_redis() as url:
        assert ids(deploy=True, CARILLON={"REDIS_URL": url}) == []


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
def test_a_preflight_that_others_answer_has_to_allow_resuming(
    headers: object, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {} if headers is None else {"CORS_ALLOW_HEADERS": headers}
    assert ids(**given) == []
    installed = SimpleNamespace(is_installed=lambda name: name == "corsheaders")
    monkeypatch.setattr(packages, "apps", installed)
    assert ids(**given) == expected


# W008: middleware


@sync_only_middleware
def only_synchronous(get_response: Any) -> Any:
    return get_response


def test_a_middleware_that_is_only_synchronous_is_warned_of() -> None:
    name = f"{__name__}.only_synchronous"
    assert ids(MIDDLEWARE=[*django_settings.MIDDLEWARE, name]) == ["carillon.W008"]


def test_a_middleware_that_cannot_be_imported_is_django_s_to_name() -> None:
    assert ids(MIDDLEWARE=["tests.no_such.middleware"]) == []
