"""Daphne in this process: what `dev` and `serve` have in common."""

import signal
import socket
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from notifications.asgi import get_asgi_application
from notifications.conf import get_settings
from notifications.log import embedded


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default=getattr(settings, "HOST", "127.0.0.1"),
        help="the address to listen on (settings.HOST, %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=getattr(settings, "PORT", 8000),
        help="the port to listen on, 0 for any that is free (settings.PORT, %(default)s)",
    )


def serve(listener: socket.socket) -> None:
    """Serves the project's ASGI application until Ctrl-C or SIGTERM."""
    try:
        from notifications.management.carillon.daphne_server import DaphneServer
    except ImportError as error:
        raise CommandError(f"{error}: install django-carillon[daphne]") from None
    DaphneServer(_application(), endpoints=[f"fd:fileno={listener.detach()}"]).run()


def _application() -> Any:
    """The project's, or, where it has none since it is served by WSGI, one made for it."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    application = import_string(path) if path else get_asgi_application()
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        return ASGIStaticFilesHandler(application)
    return application


@contextmanager
def log_running() -> Iterator[None]:
    """Runs the embedded server, where the log is kept in one."""
    data_dir = get_settings().DATA_DIR
    server: AbstractContextManager[object] = nullcontext()
    if get_settings().LOG == "embedded" and data_dir:
        server = embedded.running(data_dir)
    try:
        with server:
            yield
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None


@contextmanager
def until_told() -> Iterator[None]:
    """Ctrl-C or SIGTERM ends the block without a traceback, and so all that it holds."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield
