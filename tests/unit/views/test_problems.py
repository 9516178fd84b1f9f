"""Errors as problem details, and as an HTML page for browsers."""

import json
from typing import Any

import pytest
from django.core import exceptions
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from pytest_django import Settings as DjangoSettings

from notifications import errors
from notifications.errors import CarillonError, Invalid, MethodNotAllowed, Unavailable
from notifications.views import problems
from tests.harness.django_client import answer

ERRORS = [
    (errors.BadRequest("d"), 400, "bad-request"),
    (errors.Unauthenticated("d"), 401, "unauthenticated"),
    (errors.Forbidden("d"), 403, "forbidden"),
    (errors.UserChanged("d"), 403, "user-changed"),
    (errors.NotFound("d"), 404, "not-found"),
    (errors.MethodNotAllowed("d", allowed=["GET"]), 405, "method-not-allowed"),
    (errors.NotAcceptable("d"), 406, "not-acceptable"),
    (errors.TooLarge("d"), 413, "too-large"),
    (errors.NoRoom("d"), 507, "no-room"),
    (errors.TargetTooLong("d"), 414, "uri-too-long"),
    (errors.UnsupportedMediaType("d"), 415, "unsupported-media-type"),
    (errors.Invalid("d"), 422, "invalid"),
    (errors.Conflict.at(3), 422, "idempotency-conflict"),
    (errors.TooMany("d", retry_after=1), 429, "too-many-requests"),
    (errors.CarillonError("d"), 500, "error"),
    (errors.NeedsAsgi("d"), 501, "needs-asgi"),
    (errors.Unavailable("d", outcome="unknown"), 503, "unavailable"),
    (errors.DatabaseAway("d"), 503, "database-away"),
    (errors.NotReady("d"), 503, "not-ready"),
    (errors.OutboxLate("d"), 503, "outbox-late"),
    (errors.NotInstalled("d"), 501, "not-installed"),
]


def problem_body(error: CarillonError) -> Any:
    return json.loads(problems.problem(RequestFactory().get("/"), error).content)


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_each_error_has_its_own_type_and_status(
    error: CarillonError, status: int, code: str
) -> None:
    response = answer(problems.problem(RequestFactory().get("/"), error))
    assert response.is_problem(status, code)
    assert response.headers["cache-control"] == "no-store"
    assert response.body["detail"] == error.detail


def test_no_two_errors_share_a_code() -> None:
    def tree(kind: type[CarillonError]) -> list[type[CarillonError]]:
        return [kind, *(kind for subclass in kind.__subclasses__() for kind in tree(subclass))]

    kinds = [kind for kind in tree(CarillonError) if kind.__module__ == errors.__name__]
    assert len({kind.code for kind in kinds}) == len(kinds) == len(ERRORS)


def test_the_extensions_of_an_error_are_in_the_problem() -> None:
    assert problem_body(Invalid("d", field="topic"))["field"] == "topic"
    assert problem_body(Unavailable("d", outcome="not_sent"))["outcome"] == "not_sent"


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (errors.Unauthenticated("d"), "WWW-Authenticate", 'Bearer realm="carillon"'),
        (MethodNotAllowed("d", allowed=("GET", "HEAD")), "Allow", "GET, HEAD"),
        (Unavailable("d", outcome="unknown"), "Retry-After", "1"),
        (errors.NotReady("d"), "Retry-After", "1"),
    ],
)
def test_the_status_has_the_header_it_needs(error: CarillonError, header: str, value: str) -> None:
    assert problems.problem(RequestFactory().get("/"), error).headers[header] == value


# Views


async def view_raising(error: Exception) -> HttpResponseBase:
    @problems.problem_responses
    async def view(_: HttpRequest) -> HttpResponseBase:
        raise error

    return await view(RequestFactory().get("/"))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Forbidden("d"), 403, "forbidden"),
        (exceptions.RequestDataTooBig("d"), 413, "too-large"),
        (exceptions.TooManyFieldsSent("d"), 400, "bad-request"),
        (exceptions.TooManyFilesSent("d"), 400, "bad-request"),
        (exceptions.BadRequest("d"), 400, "bad-request"),
        (MultiPartParserError("d"), 400, "bad-request"),
    ],
)
async def test_an_error_in_a_view_is_answered_with_a_problem(
    error: Exception, status: int, code: str
) -> None:
    assert answer(await view_raising(error)).is_problem(status, code)


async def test_an_unexpected_error_is_left_to_django() -> None:
    with pytest.raises(ZeroDivisionError):
        await view_raising(ZeroDivisionError())


async def test_a_response_without_an_error_is_unchanged() -> None:
    response = HttpResponse()

    @problems.problem_responses
    async def view(_: HttpRequest) -> HttpResponseBase:
        return response

    assert await view(RequestFactory().get("/")) is response


def test_atomic_requests_allow_our_views() -> None:
    @problems.problem_responses
    async def view(_: HttpRequest) -> HttpResponseBase:
        return HttpResponse()

    # The attribute that Django's handler reads.
    assert vars(view)["_non_atomic_requests"] == {"default"}


# A project's handlers

HANDLERS = [
    (lambda request: problems.bad_request(request, Exception()), 400, "bad-request"),
    (lambda request: problems.forbidden(request, Exception()), 403, "forbidden"),
    (lambda request: problems.not_found(request, Exception()), 404, "not-found"),
    (problems.server_error, 500, "error"),
    (lambda request: problems.csrf_failure(request, reason="no cookie"), 403, "forbidden"),
]


@pytest.mark.parametrize(("handler", "status", "code"), HANDLERS)
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/problem+json"])
def test_programs_get_problems(handler: Any, status: int, code: str, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    request = RequestFactory().get("/nowhere", headers=headers)
    assert answer(handler(request)).is_problem(status, code)


@pytest.mark.parametrize(("handler", "status", "code"), HANDLERS)
def test_browsers_get_a_page(handler: Any, status: int, code: str) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = handler(RequestFactory().get("/nowhere", headers={"Accept": accept}))
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert str(status) in response.content.decode()


def test_a_page_escapes_the_path() -> None:
    request = RequestFactory().get("/<script>", headers={"Accept": "text/html"})
    response = problems.not_found(request, Exception())
    assert "/&lt;script&gt;" in response.content.decode()
    assert "<script>" not in response.content.decode()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/nowhere", {}, 404), ("/events/", {"Host": "elsewhere.example.com"}, 400)],
)
def test_the_project_has_these_handlers(path: str, headers: dict[str, str], status: int) -> None:
    response = Client(raise_request_exception=False).get(path, headers=headers)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_a_host_that_is_not_allowed_learns_the_setting_and_not_its_value(
    settings: DjangoSettings, accept: str
) -> None:
    settings.ALLOWED_HOSTS = ["internal.example.com"]
    headers = {"Host": "elsewhere.example.com", "Accept": accept}
    response = Client(raise_request_exception=False).get("/events/", headers=headers)
    assert response.status_code == 400
    assert "The setting ALLOWED_HOSTS does not have the host" in response.content.decode()
    assert "internal" not in response.content.decode()


def test_an_error_in_the_settings_is_a_problem_too(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CARILLON = {"LOG": "memory", "NOPE": 1}
    response = Client(raise_request_exception=False).post(
        "/publish/", headers={"Authorization": "Bearer x"}
    )
    assert answer(response).is_problem(500, "error")
    assert "NOPE" not in response.content.decode()
