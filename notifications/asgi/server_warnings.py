"""Warnings about options of the running server that harm streams.

No system check runs under `daphne …`, `uvicorn …`, gunicorn, granian or hypercorn, and each of them
takes its options from arguments, environment variables, files and code. The final options are
attributes of the server's objects, which can be reached from the `send` of the first stream.

Those attributes are undocumented: `docs/extend.md` lists them.
"""

import os
import sys
from argparse import ArgumentParser
from functools import partial
from typing import Any

from notifications.asgi.stop_signals import stop_ends_streams
from notifications.conf import get_settings
from notifications.telemetry.logs import logger
from notifications.transport.base import Send

GRANIAN_CONNECTIONS = 1024
"""granian's default for all workers together."""


class ServerWarnings:
    """Checks the server's options once."""

    def __init__(self) -> None:
        self._checked = False

    def check(self, send: Send, *, is_detached: bool) -> None:
        """Log a warning for each harmful option of the server that `send` belongs to. Never raises.

        `is_detached`: the socket of the stream leaves the server, which then neither ends it nor
        waits for it. After the first call this does nothing.
        """
        if not self._checked:
            self._checked = True
            try:
                _check(send, is_detached=is_detached)
            except Exception:  # a server version with other internals
                logger.debug("server.unknown", exc_info=True)


def _check(send: Any, *, is_detached: bool) -> None:
    owner = getattr(send, "__self__", None)
    if isinstance(send, partial):
        if not is_detached:
            _check_daphne(getattr(send.func, "__self__", None))
    elif getattr(send, "__module__", None) == "gunicorn.asgi.protocol":
        _check_gunicorn(send.__closure__[send.__code__.co_freevars.index("self")].cell_contents)
    elif type(owner).__module__.startswith("hypercorn."):
        _check_hypercorn(owner)
    elif type(owner).__name__ == "ASGIHTTPProtocol":
        _check_granian()
    else:
        _check_uvicorn(getattr(owner, "transport", None), is_detached=is_detached)


def _check_daphne(server: Any) -> None:
    if type(server).__module__ == "daphne.server" and server.http_timeout:
        logger.warning(
            "server.http_timeout",
            seconds=server.http_timeout,
            hint="Daphne ends every stream after that time. Leave --http-timeout out.",
        )


def _check_gunicorn(protocol: Any) -> None:
    if not stop_ends_streams():
        _never_stops("gunicorn", "none: workers are killed after --graceful-timeout")
    _check_max_requests("gunicorn", protocol.cfg.max_requests)


def _check_hypercorn(stream: Any) -> None:
    _never_stops("hypercorn", "none since Python 3.12")
    _check_max_requests("hypercorn", stream.context.max_requests)


def _check_granian() -> None:
    if not stop_ends_streams():
        _never_stops("granian", "--interface asgi, and --workers-kill-timeout 10")
    limit = _granian_limit()
    if limit < get_settings().MAX_STREAMS:
        logger.warning(
            "server.max_connections",
            limit=limit,
            hint="granian lets clients beyond that number wait without an answer, and each stream "
            "counts. Set --backlog and --backpressure higher.",
        )


def _granian_limit() -> int:
    """The connections of one worker, from the command line or the environment."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, default in (("backlog", GRANIAN_CONNECTIONS), ("workers", 1), ("backpressure", 0)):
        value = os.environ.get(f"GRANIAN_{name.upper()}", default)
        parser.add_argument(f"--{name}", type=int, default=int(value))
    options, _ = parser.parse_known_args(sys.argv[1:])
    backpressure: int = options.backpressure or options.backlog // max(1, options.workers)
    return backpressure


def _check_uvicorn(transport: Any, *, is_detached: bool) -> None:
    config: Any = getattr(transport.get_protocol(), "config", None)
    if type(config).__module__ != "uvicorn.config":
        return
    is_bounded = config.timeout_graceful_shutdown is not None or config.callback_notify
    if is_detached:
        _check_uvicorn_that_does_not_wait(config)
    elif not is_bounded:
        if not stop_ends_streams():
            _never_stops("uvicorn", "--timeout-graceful-shutdown 10, and no --lifespan off")
        _check_max_requests("uvicorn", config.limit_max_requests)
    if config.workers > 1 and get_settings().LOG == "memory":
        logger.warning(
            "server.several_logs",
            workers=config.workers,
            hint="CARILLON['LOG'] is 'memory', so each process has a log of its own. Set "
            "CARILLON['REDIS_URL'].",
        )


def _check_uvicorn_that_does_not_wait(config: Any) -> None:
    if not stop_ends_streams():
        logger.warning(
            "server.cuts_streams",
            server="uvicorn",
            hint="without ASGI's lifespan Carillon learns of no stop, so streams are cut without a "
            "closing event. Leave --lifespan off out.",
        )
    if config.limit_max_requests:
        logger.warning(
            "server.max_requests",
            server="uvicorn",
            limit=config.limit_max_requests,
            hint="after so many requests a worker ends, and all its streams at once. Leave the "
            "option out.",
        )


def _never_stops(server: str, cure: str) -> None:
    logger.warning(
        "server.never_stops",
        server=server,
        cure=cure,
        hint="this server does not stop while a stream is open. Or use 'manage.py carillon serve'.",
    )


def _check_max_requests(server: str, limit: int | None) -> None:
    if limit:
        logger.warning(
            "server.max_requests",
            server=server,
            limit=limit,
            hint="after so many requests a worker accepts no more and waits for its streams to "
            "end; until then it serves nobody. Leave the option out.",
        )
