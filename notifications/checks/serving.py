"""Checks of the ASGI application and the server behind it."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType
from typing import Any

from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning
from django.core.handlers.asgi import ASGIHandler
from django.core.management import get_commands
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils.module_loading import import_string

from notifications.asgi.handler import CarillonASGIHandler
from notifications.checks.base import TAG

DJANGO_APPS = ("django.core", "django.contrib.staticfiles")


@register(TAG)
def handler_hands_off(**_: Any) -> list[CheckMessage]:
    """carillon.W001. If no handler is found in the application, there is no warning.

    Importing the application may have any effect, so only commands that serve or check do it.
    """
    if not (may_import_application() and serves_streams()):
        return []
    handlers = list(_handlers(_application()))
    if not handlers or any(isinstance(handler, CarillonASGIHandler) for handler in handlers):
        return []
    return [
        CheckWarning(
            f"{django_settings.ASGI_APPLICATION} is made by Django's own get_asgi_application(): "
            "each open stream holds a thread, a request and all that hangs on them.",
            hint="In that module: from notifications.asgi import get_asgi_application",
            id="carillon.W001",
        )
    ]


@register(TAG)
def streams_have_a_server(**_: Any) -> list[CheckMessage]:
    """carillon.W002"""
    if not serves_streams():
        return []
    if not getattr(django_settings, "ASGI_APPLICATION", None):
        return [
            CheckWarning(
                "ASGI_APPLICATION is not set, and WSGI answers streams with 501.",
                hint='Set it to "mysite.asgi.application" and serve that, or route only the path '
                f"{reverse('carillon:events')} to 'manage.py carillon serve'.",
                id="carillon.W002",
            )
        ]
    if sys.argv[1:2] == ["runserver"] and _app_of_command("runserver") in DJANGO_APPS:
        return [
            CheckWarning(
                "This runserver is Django's own, which is WSGI: it answers streams with 501.",
                hint='Put "daphne" first in INSTALLED_APPS, or use another ASGI server.',
                id="carillon.W002",
            )
        ]
    return []


@register(TAG)
def middleware_is_asynchronous(**_: Any) -> list[CheckMessage]:
    """carillon.W008"""
    if not (serves_streams() and getattr(django_settings, "ASGI_APPLICATION", None)):
        return []
    return [
        CheckWarning(
            f"{path} is only synchronous: every request below it needs a thread.",
            hint="Opening a stream costs several times as much. Replace the middleware, or see "
            "'The way in' in docs/install.md.",
            id="carillon.W008",
        )
        for path in django_settings.MIDDLEWARE
        if not _is_asynchronous(path)
    ]


def _is_asynchronous(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:  # Django reports it
        return True
    return bool(getattr(middleware, "async_capable", False))


def serves_streams() -> bool:
    """Whether this project's URLs have event streams."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse("carillon:events")
    except NoReverseMatch:
        return False
    return True


def may_import_application() -> bool:
    command = sys.argv[1:]
    return command[:1] in (["check"], ["runserver"]) or command[:2] in (
        ["carillon", "serve"],
        ["carillon", "dev"],
    )


def _app_of_command(name: str) -> str:
    """The Django application that a management command belongs to."""
    application = get_commands()[name]
    return application if isinstance(application, str) else type(application).__module__


def _application() -> object:
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    try:
        return import_string(path) if path else None
    except Exception:  # noqa: BLE001 - the module may raise anything; its server reports it
        return None


def _handlers(application: object) -> Iterator[ASGIHandler]:
    """Django's handlers in an ASGI application, inside routers, wrappers and closures too."""
    seen: set[int] = set()
    remaining = [application]
    while remaining:
        part = remaining.pop()
        if isinstance(part, ASGIHandler) and not isinstance(part, ASGIStaticFilesHandler):
            yield part
        elif id(part) not in seen:
            seen.add(id(part))
            remaining += _parts(part)


def _parts(holder: object) -> list[object]:
    if isinstance(holder, Mapping):
        return list(holder.values())
    if isinstance(holder, list | tuple):
        return list(holder)
    if isinstance(holder, URLPattern):
        return [holder.callback]
    if isinstance(holder, partial):
        return [holder.func, *holder.args, *holder.keywords.values()]
    if isinstance(holder, FunctionType):
        return [*inspect.getclosurevars(holder).nonlocals.values(), *vars(holder).values()]
    if callable(holder) and not isinstance(holder, type):
        try:
            return list(vars(holder).values())
        except TypeError:  # an object with slots has no such dictionary
            return []
    return []
