"""The checks of middleware that harms streams."""

import asyncio
import sys
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.deprecation import MiddlewareMixin

from notifications.checks import middleware as middleware_checks
from tests.unit.checks.test_checks import ids

GZIP = "django.middleware.gzip.GZipMiddleware"


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])


def behind(*names: str) -> list[str]:
    """The middleware of this module, after those that the project has."""
    return [*django_settings.MIDDLEWARE, *(f"{__name__}.{name}" for name in names)]


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


class LoginByPath:
    """As many sites have it: by paths, for all others a redirect with the whole URL."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        if not request.user.is_authenticated and request.path not in ("/login/", "/events/"):
            return redirect_to_login(request.get_full_path(), "/login/")
        return self.get_response(request)


class LoginByView(MiddlewareMixin):
    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> Any:
        if not getattr(view, "is_open_to_all", False) and not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), "/login/")
        return None


class LoginUnlessExempt(LoginRequiredMiddleware):
    pass


class ToHttps(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        target = f"https://www.example.com{request.get_full_path()}"
        return None if request.is_secure() else HttpResponseRedirect(target)


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
        ("LoginByPath", ["carillon.W008", "carillon.W028"]),
        ("LoginByView", ["carillon.W028"]),
        ("LoginUnlessExempt", []),
        ("ToHttps", []),
    ],
)
def test_each_harmful_effect_of_a_middleware_has_its_warning(
    name: str, expected: list[str]
) -> None:
    assert sorted(map(str, ids(MIDDLEWARE=behind(name)))) == expected


@pytest.mark.usefixtures("checking")
def test_gzip_middleware_gets_a_warning_in_every_django_version() -> None:
    expected = "carillon.W022" if django.VERSION[:2] == (6, 0) else "carillon.W023"
    assert ids(MIDDLEWARE=[GZIP, *django_settings.MIDDLEWARE]) == [expected]


@pytest.mark.usefixtures("checking")
def test_a_middleware_that_never_responds_does_not_delay_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(middleware_checks, "TIMEOUT_SECONDS", 0.05)
    assert ids(MIDDLEWARE=behind("Hanging")) == []


def test_a_middleware_is_called_only_by_commands_that_serve_or_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
    assert ids(MIDDLEWARE=behind("Measuring")) == []
