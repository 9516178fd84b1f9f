"""What `dev` and `serve` have in common: their options, the embedded log, and one server."""

import gc
import signal
import socket
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from notifications.asgi import get_asgi_application
from notifications.conf import get_settings
from notifications.log import embedded
from notifications.management.server.lifecycle import Lifecycle
from notifications.management.server.messages import Commands

SERVERS = ("daphne", "uvicorn")
EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104
GC_THRESHOLDS = 10_000, 10, 20
"""The first two are above Python's own, and bound how long most collections hold the event loop.

A whole collection holds it for 10 to 20 µs for each open stream, so it comes only after two million
objects. No stream waits for it: what is ours is free by its last reference. It is for what Django's
requests leave in cycles, if they were under way when one of the smaller collections came.
"""


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argparse type: whole numbers within these limits."""

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
        type=whole_number(0, 65535),
        default=getattr(settings, "PORT", 8000),
        help="the port to listen on, 0 for any that is free (settings.PORT, %(default)s)",
    )


def require_installed(server: str) -> None:
    """Raise `CommandError` for a server that is not installed."""
    if find_spec(server) is None:
        others = [other for other in SERVERS if other != server and find_spec(other)]
        instead = f", or serve with --server {others[0]}" if others else ""
        raise CommandError(
            f"{server} is not installed: pip install 'django-carillon[{server}]'{instead}."
        )


def serve(
    listeners: Sequence[socket.socket],
    commands: Commands,
    *,
    server: str = "daphne",
    proxy_headers: bool = False,
) -> None:
    """Serve the project's ASGI application until a command stops this process."""
    require_installed(server)
    application, lifecycle = _application(), Lifecycle(listeners, commands)
    _load_urls()
    tune_garbage_collector()
    # Each server is an optional dependency, and takes long to import.
    if server == "uvicorn":
        from notifications.management.server.uvicorn import UvicornServer

        UvicornServer(application, lifecycle, proxy_headers=proxy_headers).run()
    else:
        from notifications.management.server.daphne import DaphneServer

        DaphneServer(application, lifecycle, proxy_headers=proxy_headers).run()


def _application() -> Any:
    """The project's ASGI application, or a new one where the project is served by WSGI."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    application = import_string(path) if path else get_asgi_application()
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
        return ASGIStaticFilesHandler(application)
    return application


def _load_urls() -> None:
    """Import the project's URLs: a deploy whose URLs fail has to fail now, and not each request."""
    if getattr(settings, "ROOT_URLCONF", None):
        with suppress(Resolver404):
            resolve("/")


def tune_garbage_collector() -> None:
    """Collect cyclic garbage rarely: streams and events are many objects, and in no cycles.

    The objects that exist by now, all of Django among them, are never scanned again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@contextmanager
def embedded_log() -> Iterator[None]:
    """Run the embedded server in the block, where `LOG` is `embedded`."""
    data_dir = get_settings().DATA_DIR
    server: AbstractContextManager[object] = nullcontext()
    if get_settings().LOG == "embedded" and data_dir:
        server = embedded.running(data_dir)
    try:
        with server:
            yield
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None


def log_description() -> str:
    """Where the log is kept, as a text for people. The password in a URL is left out."""
    configured = get_settings()
    match configured.LOG:
        case "embedded":
            return f"embedded Valkey, kept in {configured.DATA_DIR}/valkey"
        case "redis":
            parts = urlsplit(configured.REDIS_URL or "")
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        case "memory":
            return "this process's memory: it ends with the process"


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block without a traceback, and its context managers exit."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        yield


def url_of(host: str, listeners: list[socket.socket]) -> str:
    """The URL at which a browser on this machine reaches the sockets of a host."""
    host = host.strip("[]")
    if host in EVERY_ADDRESS:
        host = "localhost"
    port = listeners[0].getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
