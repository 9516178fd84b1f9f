"""Event streams in views of django-ninja: its refusals as problems.

Import it only where the package `django-ninja` is installed. A view, async or not, returns an
`EventStreamResponse`, with a grant of `grant_for` that ends with the credentials.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from notifications.compat.problems import problem_of_status
from notifications.errors import CarillonError, Invalid
from notifications.views.problems import problem


def answer_with_problems(api: NinjaAPI) -> None:
    """Make the API answer its refusals, throttles included, and our errors with problems."""

    # The authentication and throttling errors of ninja are kinds of `HttpError`.
    @api.exception_handler(HttpError)
    def refused(request: HttpRequest, error: Any) -> HttpResponse:
        seconds = getattr(error, "wait", None)
        headers = {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}
        return problem_of_status(request, error.status_code, str(error), headers)

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: Any) -> HttpResponse:
        return problem(request, Invalid("The request is not valid.", errors=error.errors))

    @api.exception_handler(CarillonError)
    def failed(request: HttpRequest, error: Any) -> HttpResponse:
        return problem(request, error)
