"""Checks of a server's options, as far as files and environment variables show them.

Options from a command line are visible only inside the running server, when its first stream opens:
see `notifications.asgi.server_warnings`.
"""

import ast
import os
import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning

from notifications.checks.base import TAG, valid_settings
from notifications.checks.serving import serves_streams

WSGI_WORKERS = {"sync", "gthread", "eventlet", "gevent", "tornado"}
"""gunicorn's own worker classes."""
CONFIG_FILE = "gunicorn.conf.py"
CONCURRENCY_VARIABLE = "WEB_CONCURRENCY"


@register(TAG)
def gunicorn_serves_asgi(**_: Any) -> list[CheckMessage]:
    """carillon.W026"""
    options = gunicorn_options()
    # A worker class that is not in the options may be in a command line, which is not visible here.
    worker_class = str(options.get("worker_class", ""))
    if worker_class not in WSGI_WORKERS or not serves_streams():
        return []
    timeout = options.get("timeout", 30)
    is_sync = worker_class == "sync"
    cut = f", and responses that take longer than {timeout} s are cut" if is_sync else ""
    return [
        CheckWarning(
            f"gunicorn is configured ({options['from']}) with {worker_class} workers, which are "
            f"WSGI: streams are answered 501{cut}.",
            hint='worker_class = "asgi" (gunicorn 27), or "uvicorn_worker.UvicornWorker"; '
            "or route only the streams to 'manage.py carillon serve' (docs/install.md).",
            id="carillon.W026",
        )
    ]


@register(TAG)
def gunicorn_keeps_its_workers(**_: Any) -> list[CheckMessage]:
    """carillon.W029"""
    options = gunicorn_options()
    worker_class = str(options.get("worker_class", ""))
    is_asgi = worker_class == "asgi" or "uvicorn" in worker_class
    is_limited = _is_several(options.get("max_requests"), above=0)
    if not is_asgi or not is_limited or not serves_streams():
        return []
    return [
        CheckWarning(
            f"gunicorn is configured ({options['from']}) with max_requests "
            f"{options['max_requests']}: after that many requests a worker accepts no more, waits "
            "for its open streams, and cuts them after graceful_timeout. Until then nobody is "
            "served in its place.",
            hint="Leave max_requests out.",
            id="carillon.W029",
        )
    ]


@register(TAG)
def memory_is_for_one_process(**_: Any) -> list[CheckMessage]:
    """carillon.W004"""
    settings = valid_settings()
    source, processes = _processes()
    if settings is None or settings.LOG != "memory" or not _is_several(processes):
        return []
    return [
        CheckWarning(
            f"{processes} processes serve ({source}), and CARILLON['LOG'] is 'memory': each has "
            "its own log, and gets only the events that it published itself.",
            hint="Set CARILLON['REDIS_URL'] to a Redis server's URL, or serve with one process.",
            id="carillon.W004",
        )
    ]


def _processes() -> tuple[str, object]:
    """Where the number of processes is configured, and the number.

    gunicorn and uvicorn read the environment variable.
    """
    options = gunicorn_options()
    if "workers" in options:
        return options["from"], options["workers"]
    variable = os.environ.get(CONCURRENCY_VARIABLE)
    setting = getattr(django_settings, CONCURRENCY_VARIABLE, None)
    return CONCURRENCY_VARIABLE, setting or variable


def _is_several(number: object, *, above: int = 1) -> bool:
    return str(number).isdecimal() and int(str(number)) > above


@register(TAG)
def runserver_does_not_end_streams(**_: Any) -> list[CheckMessage]:
    """carillon.W027: the option is of Daphne's runserver."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--http_timeout", type=float)
    try:
        seconds = parser.parse_known_args(sys.argv[1:])[0].http_timeout
    except SystemExit:  # from argparse, for a value that is not a number: runserver reports it
        return []
    if sys.argv[1:2] != ["runserver"] or not seconds:
        return []
    return [
        CheckWarning(
            f"--http_timeout {seconds:g} ends every stream after {seconds:g} s.",
            hint="Leave the option out.",
            id="carillon.W027",
        )
    ]


def gunicorn_options() -> dict[str, Any]:
    """The options in gunicorn.conf.py, as far as they are constants, and in GUNICORN_CMD_ARGS.

    `from` names the source of the options.
    """
    options: dict[str, Any] = {}
    file = Path(CONFIG_FILE)
    if file.is_file():
        options |= {"from": CONFIG_FILE, **_constants(file)}
    if arguments := os.environ.get("GUNICORN_CMD_ARGS"):
        options |= {"from": "GUNICORN_CMD_ARGS", **_options(arguments)}
    return options


def _constants(file: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, ValueError):  # gunicorn reports the error
        return {}
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _options(arguments: str) -> dict[str, Any]:
    parser = ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("-k", "--worker-class", dest="worker_class")
    parser.add_argument("-w", "--workers")
    parser.add_argument("-t", "--timeout")
    parser.add_argument("--max-requests")
    known, _ = parser.parse_known_args(shlex.split(arguments))
    return {name: value for name, value in vars(known).items() if value is not None}
