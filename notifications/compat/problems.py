"""Errors of other frameworks as problems (RFC 9457)."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse

from notifications.errors import (
    BadRequest,
    CarillonError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    TooMany,
    Unauthenticated,
    UnsupportedMediaType,
)
from notifications.views.problems import problem

BY_STATUS: dict[int, type[CarillonError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    406: NotAcceptable,
    415: UnsupportedMediaType,
    422: Invalid,
}


def problem_of_status(
    request: HttpRequest, status: int, detail: object, headers: Mapping[str, str]
) -> HttpResponse:
    """The problem of this status, with the headers that the framework has for it."""
    text = str(detail)
    match status:
        case 405:
            allowed = [name.strip() for name in headers.get("Allow", "").split(",")]
            error: CarillonError = MethodNotAllowed(text, allowed=allowed)
        case 429:
            seconds = headers.get("Retry-After", "")
            error = TooMany(text, retry_after=int(seconds) if seconds.isdecimal() else 1)
        case _:
            default = BadRequest if status < 500 else CarillonError
            error = BY_STATUS.get(status, default)(text)
    response = problem(request, error)
    for name, value in headers.items():
        response[name] = value
    return response
