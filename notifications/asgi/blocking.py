"""Which hooks of a middleware block the event loop, and for which requests.

A middleware that is neither in the table here nor marked `nonblocking` may block at any time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest

from notifications.asgi.marker import is_nonblocking_class

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")  # RFC 9110 §9.2.1


def never(*_: Any) -> bool:
    return False


def _always(*_: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class BlockingProfile:
    """For each hook of a middleware, whether it blocks for a given request."""

    request: Callable[[HttpRequest], bool] = never
    view: Callable[[HttpRequest, Any], bool] = never
    response: Callable[[HttpRequest], bool] = never
    lazy_attribute: str = ""
    """The attribute of the request that `process_request` sets, if it does nothing else.

    Then neither hook has anything to do for a request whose attribute nobody reads.
    """


def blocking_profile(middleware: object) -> BlockingProfile | None:
    """The profile of a middleware, or None if its hooks may block at any time.

    A subclass of a middleware in the table is not in the table: its own code may do anything.
    """
    kind = type(middleware)
    if is_nonblocking_class(kind):
        return BlockingProfile()
    return DJANGO_PROFILES.get(f"{kind.__module__}.{kind.__qualname__}")


# The conditions under which Django's own middleware blocks


def _sessions_are_custom(*_: Any) -> bool:
    return _is_custom_engine(settings.SESSION_ENGINE)


@lru_cache(maxsize=8)
def _is_custom_engine(engine: str) -> bool:
    store = import_module(engine).SessionStore
    called = (store.__init__, store.is_empty)
    return not all(method.__module__.startswith("django.") for method in called)


def _session_is_saved(request: HttpRequest) -> bool:
    session = getattr(request, "session", None)
    return session is not None and (
        session.modified or settings.SESSION_SAVE_EVERY_REQUEST or _sessions_are_custom()
    )


def _messages_are_custom(*_: Any) -> bool:
    return not settings.MESSAGE_STORAGE.startswith("django.")


def _messages_are_stored(request: HttpRequest) -> bool:
    # What `messages.get_messages` returns, but None if no middleware has set it.
    messages = getattr(request, "_messages", None)
    return messages is not None and (messages.used or messages.added_new or _messages_are_custom())


def _token_is_in_session(*_: Any) -> bool:
    return settings.CSRF_USE_SESSIONS


def _token_is_checked(request: HttpRequest, view: Any) -> bool:
    return request.method not in SAFE_METHODS and not getattr(view, "csrf_exempt", False)


def _requires_login(_: HttpRequest, view: Any) -> bool:
    # Before Django 6.1 it reads the user first, and then whether the view is exempt.
    return django.VERSION < (6, 1) or bool(getattr(view, "login_required", True))


# By name, because some of these modules cannot be imported before `django.setup()`.
DJANGO_PROFILES: dict[str, BlockingProfile] = {
    "django.contrib.auth.middleware.AuthenticationMiddleware": BlockingProfile(),
    "django.contrib.auth.middleware.LoginRequiredMiddleware": BlockingProfile(view=_requires_login),
    "django.contrib.messages.middleware.MessageMiddleware": BlockingProfile(
        request=_messages_are_custom, response=_messages_are_stored, lazy_attribute="_messages"
    ),
    "django.contrib.sessions.middleware.SessionMiddleware": BlockingProfile(
        request=_sessions_are_custom, response=_session_is_saved
    ),
    "django.middleware.clickjacking.XFrameOptionsMiddleware": BlockingProfile(),
    "django.middleware.common.CommonMiddleware": BlockingProfile(),
    "django.middleware.csp.ContentSecurityPolicyMiddleware": BlockingProfile(),
    "django.middleware.csrf.CsrfViewMiddleware": BlockingProfile(
        request=_token_is_in_session, view=_token_is_checked, response=_token_is_in_session
    ),
    # It compresses in a thread, and leaves nothing there.
    "django.middleware.gzip.GZipMiddleware": BlockingProfile(response=_always),
    "django.middleware.http.ConditionalGetMiddleware": BlockingProfile(),
    "django.middleware.locale.LocaleMiddleware": BlockingProfile(),
    "django.middleware.security.SecurityMiddleware": BlockingProfile(),
}
