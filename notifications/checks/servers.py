"""Checks of how a server was told to serve, where that is written down.

What a server that runs was told otherwise is seen from inside it, when its first stream opens:
`notifications.asgi.server_warnings`.
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
from notifications.checks.serving import streams_here

# gunicorn's own, all of which are WSGI.
WSGI_WORKERS = {"sync", "gthread", "eventlet", "gevent", "tornado"}
CONFIGURATION = "gunicorn.conf.py"
CONCURRENCY = "WEB_CONCURRENCY"


@register(TAG)
def gunicorn_serves_asgi(**_: Any) -> list[CheckMessage]:
    """carillon.W026"""
    told = gunicorn_settings()
    # Where it is not written, it may stand in a command line, which nothing here can read.
    kind = str(told.get("worker_class", ""))
    if kind not in WSGI_WORKERS or not streams_here():
        return []
    timeout = told.get("timeout", 30)
    cut = f", and ends whatever takes longer than {timeout} s" if kind == "sync" else ""
    return [
        CheckWarning(
            f"gunicorn is told ({told['from']}) to serve with {kind} workers: that is WSGI, under "
            f"which streams are answered 501{cut}.",
            hint='pip install uvicorn-worker, and worker_class = "uvicorn_worker.UvicornWorker"; '
            "or send the streams alone to 'manage.py carillon serve' (docs/install.md).",
            id="carillon.W026",
        )
    ]


@register(TAG)
def memory_is_for_one_process(**_: Any) -> list[CheckMessage]:
    """carillon.W004"""
    settings = valid_settings()
    where, processes = _processes()
    if settings is None or settings.LOG != "memory" or not _several(processes):
        return []
    return [
        CheckWarning(
            f"{processes} processes are to serve ({where}), and CARILLON['LOG'] is 'memory': each "
            "has a log of its own, and hears only what it published itself.",
            hint="Set CARILLON['REDIS_URL'] to a Redis server's, or serve with one process.",
            id="carillon.W004",
        )
    ]


def _processes() -> tuple[str, object]:
    """How many there are to be, and where it says so. gunicorn and uvicorn read the variable."""
    told = gunicorn_settings()
    if "workers" in told:
        return told["from"], told["workers"]
    variable = os.environ.get(CONCURRENCY)
    return CONCURRENCY, getattr(django_settings, CONCURRENCY, None) or variable


def _several(processes: object) -> bool:
    return str(processes).isdecimal() and int(str(processes)) > 1


@register(TAG)
def runserver_lets_streams_live(**_: Any) -> list[CheckMessage]:
    """carillon.W027: Daphne's runserver has the option too."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--http_timeout", type=float)
    try:
        seconds = parser.parse_known_args(sys.argv[1:])[0].http_timeout
    except SystemExit:  # argparse's, for what is no number: its own command will say so
        return []
    if sys.argv[1:2] != ["runserver"] or not seconds:
        return []
    return [
        CheckWarning(
            f"--http_timeout {seconds:g} ends every stream after {seconds:g} s.",
            hint="Leave it out.",
            id="carillon.W027",
        )
    ]


def gunicorn_settings() -> dict[str, Any]:
    """What gunicorn.conf.py and GUNICORN_CMD_ARGS say, as far as it can be read without running it;
    `from` names where. Empty where nothing is said."""
    told: dict[str, Any] = {}
    file = Path(CONFIGURATION)
    if file.is_file():
        told |= {"from": CONFIGURATION, **_constants(file)}
    if arguments := os.environ.get("GUNICORN_CMD_ARGS"):
        told |= {"from": "GUNICORN_CMD_ARGS", **_options(arguments)}
    return told


def _constants(file: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(file.read_text())
    except (OSError, SyntaxError, ValueError):  # gunicorn will say so
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
    known, _ = parser.parse_known_args(shlex.split(arguments))
    return {name: value for name, value in vars(known).items() if value is not None}
