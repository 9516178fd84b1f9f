"""Whether the user of a request is still that of Django's own middleware, which nobody has read."""

from functools import partial
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware, auser
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject, empty

_SETUP = f"{AuthenticationMiddleware.process_request.__qualname__}."


def is_unread_session_user(request: HttpRequest) -> bool:
    """Whether `request.user` and `request.auser` are as `AuthenticationMiddleware` has set them.

    Impersonation and authentication by headers put another user there, or read the user to decide.
    """
    attributes = vars(request)
    user, find = attributes.get("user"), attributes.get("auser")
    if type(user) is not SimpleLazyObject or vars(user).get("_wrapped") is not empty:
        return False
    setup: Any = vars(user).get("_setupfunc")
    return (
        getattr(setup, "__module__", "") == AuthenticationMiddleware.__module__
        and getattr(setup, "__qualname__", "").startswith(_SETUP)
        and isinstance(find, partial)
        and find.func is auser
        and find.args == (request,)
    )
