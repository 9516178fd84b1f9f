"""The log-in of the page at `/`, for people who are no staff."""

from typing import Any

from django.contrib.auth import views
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from notifications.views.security_headers import protect


class LoginView(views.LoginView):
    template_name = "carillon/login.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return protect(super().dispatch(request, *args, **kwargs))
