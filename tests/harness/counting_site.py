"""Settings of a site whose responses have the number of queries of their process so far."""

import os
from collections.abc import Callable
from itertools import count
from typing import Any

from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse

from config.settings import *  # noqa: F403
from config.settings import MIDDLEWARE

HEADER = "X-Queries"
MIDDLEWARE = ["tests.harness.counting_site.counts_queries", *MIDDLEWARE]
if "SUBSTITUTES" in os.environ:
    MIDDLEWARE.append("tests.harness.counting_site.substitutes_the_user")
_numbers = count()
_executed = [0]


def _on_connection(*, connection: Any, **_: Any) -> None:
    connection.execute_wrappers.append(_count)


def _count(execute: Callable[..., Any], *arguments: Any) -> Any:
    _executed[0] = next(_numbers) + 1
    return execute(*arguments)


connection_created.connect(_on_connection)


def counts_queries(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response[HEADER] = str(_executed[0])
        return response

    return middleware


def substitutes_the_user(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """Puts a lazy user of its own into the request, as impersonation may."""
    from django.contrib.auth import get_user_model
    from django.utils.functional import SimpleLazyObject

    def middleware(request: HttpRequest) -> HttpResponse:
        if pk := request.META.get("HTTP_X_USER"):
            users = get_user_model()._default_manager
            request.user = SimpleLazyObject(lambda: users.get(pk=pk))  # type: ignore[assignment]
        return get_response(request)

    return middleware
