"""The page at `/examples/`: which there are."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from notifications.views.security_headers import protect


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return protect(render(request, "demo/index.html"))
