"""The checks of database settings that harm streams."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views import View

from notifications import publish, publish_on_commit
from tests.unit.checks.test_checks import ids, messages_of


def databases(**options: Any) -> dict[str, Any]:
    return {"default": {**django_settings.DATABASES["default"], **options}}


@pytest.mark.parametrize(
    ("age", "expected"), [(60, ["carillon.W024"]), (None, ["carillon.W024"]), (0, [])]
)
def test_persistent_connections_get_a_warning_under_asgi(
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
    warnings = messages_of(ROOT_URLCONF=module.__name__)
    assert [warning.id for warning in warnings] == expected
    assert all(__name__ in warning.msg for warning in warnings)


def test_publishing_in_the_transaction_of_a_request_gets_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(django_settings, "DATABASES", databases(ATOMIC_REQUESTS=True))
    assert "carillon.W032" not in ids()
    module = ModuleType("tests.harness.text_keys.views")
    module.__dict__.update(send=publish_on_commit)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert "carillon.W032" not in ids()
    module.__dict__.update(send=publish)
    assert "carillon.W032" in ids()
    [message] = [found.msg for found in messages_of() if found.id == "carillon.W032"]
    assert module.__name__ in message
    monkeypatch.setattr(django_settings, "DATABASES", databases(ATOMIC_REQUESTS=False))
    assert "carillon.W032" not in ids()
