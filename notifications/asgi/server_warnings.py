"""Warnings about options of the running server that harm streams.

No system check runs under `daphne …`, `uvicorn …` or gunicorn, and each of them takes its options
from arguments, environment variables, files and code. The final options are attributes of the
server's objects, which can be reached from the `send` of the first stream.

Those attributes are undocumented: `docs/extend.md` lists them.
"""

import logging
from functools import partial
from typing import Any

from notifications.conf import get_settings
from notifications.transport.base import Send

logger = logging.getLogger("carillon")


class ServerWarnings:
    """Checks the server's options once."""

    def __init__(self) -> None:
        self._checked = False

    def check(self, send: Send) -> None:
        """Log a warning for each harmful option of the server that `send` belongs to. Never raises.

        After the first call it does nothing.
        """
        if not self._checked:
            self._checked = True
            try:
                _check(send)
            except Exception:  # a server version with other internals
                logger.debug("server.unknown", exc_info=True)


def _check(send: Send) -> None:
    if isinstance(send, partial):
        _check_daphne(getattr(send.func, "__self__", None))
    else:
        _check_uvicorn(getattr(getattr(send, "__self__", None), "transport", None))


def _check_daphne(server: Any) -> None:
    if type(server).__module__ == "daphne.server" and server.http_timeout:
        logger.warning(
            "server.http_timeout seconds=%g: Daphne ends every stream after that time. Leave "
            "--http-timeout out.",
            server.http_timeout,
        )


def _check_uvicorn(transport: Any) -> None:
    config: Any = getattr(transport.get_protocol(), "config", None)
    if type(config).__module__ != "uvicorn.config":
        return
    if config.timeout_graceful_shutdown is None and not config.callback_notify:
        logger.warning(
            "server.never_stops: uvicorn waits for open streams for ever when it is to stop. Set "
            "--timeout-graceful-shutdown 5, or use 'manage.py carillon serve --server uvicorn'."
        )
    if config.workers > 1 and get_settings().LOG == "memory":
        logger.warning(
            "server.several_logs workers=%d: CARILLON['LOG'] is 'memory', so each process has a "
            "log of its own. Set CARILLON['REDIS_URL'].",
            config.workers,
        )
