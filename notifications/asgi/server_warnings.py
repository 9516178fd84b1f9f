"""What the server that runs us was told, seen from inside when the first stream opens.

No system check runs in `daphne …`, `uvicorn …` or gunicorn, and there are many ways to tell them
something: arguments, variables, files, code. What came of it is in their own objects.
"""

import logging
from functools import partial
from typing import Any

from notifications.conf import get_settings
from notifications.transport.base import Send

logger = logging.getLogger("carillon")

_looked = False


def look_once(send: Send) -> None:
    """Warns of what will hurt streams; never fails, and never looks again."""
    global _looked
    if not _looked:
        _looked = True
        try:
            _look(send)
        except Exception:  # another version, with other insides
            logger.debug("server.unknown", exc_info=True)


def _look(send: Send) -> None:
    if isinstance(send, partial):
        _look_at_daphne(getattr(send.func, "__self__", None))
    else:
        _look_at_uvicorn(getattr(getattr(send, "__self__", None), "transport", None))


def _look_at_daphne(server: Any) -> None:
    if type(server).__module__ == "daphne.server" and server.http_timeout:
        logger.warning(
            "server.http_timeout seconds=%g: Daphne ends every stream after that time. Leave "
            "--http-timeout out.",
            server.http_timeout,
        )


def _look_at_uvicorn(transport: Any) -> None:
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
