"""Errors as RFC 9457 problem details, or as an HTML page for browsers."""

import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from django.core import exceptions
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from notifications.asgi.marker import judges_itself
from notifications.errors import (
    BadRequest,
    CarillonError,
    DatabaseAway,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    NotReady,
    OutboxLate,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from notifications.telemetry.counters import process_counters
from notifications.telemetry.logs import REQUEST_ID_HEADER, current_request_id, request_id
from notifications.views.security_headers import protect

logger = logging.getLogger("carillon")

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"
# Not the names that the setting has: they may be of hosts that are not public.
OTHER_HOST = "The setting ALLOWED_HOSTS does not have the host of this request (its Host header)."

# What Django raises while it reads a query or a form, and would itself answer with an HTML page.
UNREADABLE = exceptions.SuspiciousOperation, exceptions.BadRequest, MultiPartParserError

type Completion = Callable[[HttpRequest, HttpResponseBase], None]
type AsyncView = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponseBase]]


def problem(request: HttpRequest, error: CarillonError) -> JsonResponse:
    process_counters.problems[error.code] += 1
    body = {
        "type": f"urn:carillon:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "request": request_id(request),
        **error.extensions,
    }
    response = JsonResponse(body, status=error.status, content_type=CONTENT_TYPE)
    response[REQUEST_ID_HEADER] = request_id(request)
    response["Cache-Control"] = "no-store"
    if isinstance(error, Unauthenticated):
        response["WWW-Authenticate"] = 'Bearer realm="carillon"'
    _add_allow(response, error)
    if isinstance(error, Unavailable | DatabaseAway | NotReady | OutboxLate):
        response["Retry-After"] = RETRY_AFTER_SECONDS
    if isinstance(error, TooMany):
        response["Retry-After"] = str(error.extensions["retry_after"])
    return response


def _add_allow(response: HttpResponse, error: CarillonError) -> None:
    if isinstance(error, MethodNotAllowed):
        response["Allow"] = ", ".join(error.extensions["allowed"])


def problem_responses(view: AsyncView, *, complete: Completion | None = None) -> AsyncView:
    """Makes a view answer each `CarillonError`, and each unreadable request, with a problem.

    `complete` adds to every response, also to a problem. Every response names its request.

    The view is exempt from `ATOMIC_REQUESTS`, with which Django refuses async views, and from
    middleware that requires a login or a CSRF token: it checks for itself what it needs, so a wrong
    method is refused as one.
    """

    @wraps(view)
    async def view_with_problems(request: HttpRequest) -> HttpResponseBase:
        token = current_request_id.set(request_id(request))
        try:
            response = await view(request)
        except CarillonError as error:
            response = problem(request, error)
        except exceptions.RequestDataTooBig as error:
            response = problem(request, TooLarge(f"The form is too large: {error}"))
        except UNREADABLE as error:
            response = problem(request, BadRequest(f"The request cannot be read: {error}"))
        finally:
            current_request_id.reset(token)
        response[REQUEST_ID_HEADER] = request_id(request)
        if complete is not None:
            complete(request, response)
        return response

    return csrf_exempt(transaction.non_atomic_requests(judges_itself(view_with_problems)))


def check_method(request: HttpRequest, *allowed: str, detail: str) -> None:
    if request.method not in allowed:
        raise MethodNotAllowed(detail, allowed=allowed)


def problem_or_page(request: HttpRequest, error: CarillonError) -> HttpResponse:
    if request.get_preferred_type([CONTENT_TYPE, "text/html"]) != "text/html":
        return problem(request, error)
    context = {"status": error.status, "title": error.title, "detail": error.detail}
    page = render(request, "carillon/error.html", context, status=error.status)
    _add_allow(page, error)
    page["Cache-Control"] = "no-store"
    page[REQUEST_ID_HEADER] = request_id(request)
    return protect(page)


# Views for a project's `handler400` to `handler500` and `CSRF_FAILURE_VIEW`


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    is_of_other_host = isinstance(exception, exceptions.DisallowedHost)
    detail = OTHER_HOST if is_of_other_host else "The request is malformed."
    return problem_or_page(request, BadRequest(detail))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_or_page(request, Forbidden("You may not do this."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_or_page(request, NotFound(f"There is nothing at {request.path}."))


def server_error(request: HttpRequest) -> HttpResponse:
    return problem_or_page(request, CarillonError("The error has been logged."))


def csrf_failure(request: HttpRequest, reason: str = "", **_: Any) -> HttpResponse:
    return problem_or_page(request, Forbidden(f"The CSRF check failed: {reason}"))
