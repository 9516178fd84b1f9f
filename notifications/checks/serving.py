"""Checks of what serves the streams."""

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

DJANGOS_OWN = ("django.core", "django.contrib.staticfiles")


@register(TAG)
def handler_hands_off(**_: Any) -> list[CheckMessage]:
    """carillon.W001. Where no handler is found in the application, nothing is known.

    Importing the application may do anything, so only what serves it, or checks, does that.
    """
    if not (imports_the_application() and streams_here()):
        return []
    handlers = list(_handlers(_application()))
    if not handlers or any(isinstance(handler, CarillonASGIHandler) for handler in handlers):
        return []
    return [
        CheckWarning(
            f"{django_settings.ASGI_APPLICATION} is made by Django's own get_asgi_application(): "
            "each open stream holds a thread, a request and whatever hangs on them.",
            hint="In that module: from notifications.asgi import get_asgi_application",
            id="carillon.W001",
        )
    ]


@register(TAG)
def streams_have_a_server(**_: Any) -> list[CheckMessage]:
    """carillon.W002"""
    if not streams_here():
        return []
    if not getattr(django_settings, "ASGI_APPLICATION", None):
        return [
            CheckWarning(
                "ASGI_APPLICATION is not set, and under WSGI streams are answered 501.",
                hint='Set it to "mysite.asgi.application" and serve that, or send the path '
                f"{reverse('carillon:events')} alone to 'manage.py carillon serve'.",
                id="carillon.W002",
            )
        ]
    if sys.argv[1:2] == ["runserver"] and _command_of("runserver") in DJANGOS_OWN:
        return [
            CheckWarning(
                "This runserver is Django's own, which is WSGI: streams are answered 501.",
                hint='Put "daphne" first in INSTALLED_APPS, or use another ASGI server.',
                id="carillon.W002",
            )
        ]
    return []


@register(TAG)
def middleware_is_asynchronous(**_: Any) -> list[CheckMessage]:
    """carillon.W008"""
    if not (streams_here() and getattr(django_settings, "ASGI_APPLICATION", None)):
        return []
    return [
        CheckWarning(
            f"{path} is only synchronous: every request below it is in a thread of its own.",
            hint="Opening a stream costs several times what it could. Replace it, or see "
            "'The way in' in docs/install.md.",
            id="carillon.W008",
        )
        for path in django_settings.MIDDLEWARE
        if not _is_asynchronous(path)
    ]


def _is_asynchronous(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:  # Django says so itself
        return True
    return bool(getattr(middleware, "async_capable", False))


def streams_here() -> bool:
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse("carillon:events")
    except NoReverseMatch:
        return False
    return True


def imports_the_application() -> bool:
    command = sys.argv[1:]
    return command[:1] in (["check"], ["runserver"]) or command[:2] in (
        ["carillon", "serve"],
        ["carillon", "dev"],
    )


def _command_of(name: str) -> str:
    """The application that a command is of."""
    application = get_commands()[name]
    return application if isinstance(application, str) else type(application).__module__


def _application() -> object:
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    try:
        return import_string(path) if path else None
    except Exception:  # noqa: BLE001 - whatever the project's module does; its server will tell
        return None


def _handlers(application: object) -> Iterator[ASGIHandler]:
    """Django's handlers in an ASGI application: itself, or what routers and wrappers hold."""
    seen: set[int] = set()
    todo = [application]
    while todo:
        part = todo.pop()
        if isinstance(part, ASGIHandler) and not isinstance(part, ASGIStaticFilesHandler):
            yield part
        elif id(part) not in seen:
            seen.add(id(part))
            todo += _parts(part)


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
        return list(getattr(holder, "__dict__", {}).values())
    return []
