"""What `dev` and `serve` have in common: where to listen, and a server in this process."""

import gc
import signal
import socket
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

from notifications.asgi import get_asgi_application
from notifications.conf import get_settings
from notifications.log import embedded
from notifications.management.server.ipc import Orders
from notifications.management.server.lifecycle import Shift

SERVERS = ("daphne", "uvicorn")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """For argparse: whole numbers within these limits."""

    def parse(text: str) -> int:
        within = f"{low} or more" if high is None else f"from {low} to {high}"
        if not text.isdecimal() or int(text) < low or (high is not None and int(text) > high):
            raise ArgumentTypeError(f"{text!r} is not a whole number, {within}")
        return int(text)

    return parse


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default=getattr(settings, "HOST", "127.0.0.1"),
        help="the address to listen on (settings.HOST, %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=whole(0, 65535),
        default=getattr(settings, "PORT", 8000),
        help="the port to listen on, 0 for any that is free (settings.PORT, %(default)s)",
    )


def require(name: str) -> None:
    """Refuses a server that is not installed."""
    if find_spec(name) is None:
        others = [other for other in SERVERS if other != name and find_spec(other)]
        instead = f", or serve with --server {others[0]}" if others else ""
        raise CommandError(
            f"{name} is not installed: pip install 'django-carillon[{name}]'{instead}."
        )


def serve(
    listener: socket.socket, orders: Orders, *, by: str = "daphne", proxy_headers: bool = False
) -> None:
    """Serves the project's ASGI application until the orders say that it ends."""
    require(by)
    application, shift = _application(), Shift(listener, orders)
    collect_seldom()
    if by == "uvicorn":
        from notifications.management.server.uvicorn import UvicornServer

        UvicornServer(application, shift, proxy_headers=proxy_headers).run()
    else:
        from notifications.management.server.daphne import DaphneServer

        DaphneServer(application, shift, proxy_headers=proxy_headers).run()


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


def log_named() -> str:
    """Where the log is kept, for people."""
    configured = get_settings()
    match configured.LOG:
        case "embedded":
            return f"embedded Valkey, kept in {configured.DATA_DIR}/valkey"
        case "redis":
            parts = urlsplit(configured.REDIS_URL or "")
            # Without the password that a URL may hold.
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        case "memory":
            return "this process's memory: it ends with it"


@contextmanager
def until_told() -> Iterator[None]:
    """Ctrl-C or SIGTERM ends the block without a traceback, and so all that it holds."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield


# Garbage in cycles, looked for seldom: many streams are a million objects, and few cycles.


YOUNG, MIDDLE, OLD = 10_000, 10, 100
"""Some five times Python's own. The first two bound how long a collection holds the event loop."""


def collect_seldom() -> None:
    """From here on. What exists by now, all of Django, is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
