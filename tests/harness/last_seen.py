"""A middleware as many sites have it: it saves the user of each request."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone


def last_seen(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            request.user.last_name = timezone.now().isoformat()
            request.user.save()
        return get_response(request)

    return middleware
