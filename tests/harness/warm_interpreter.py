"""A Python process that has imported what our servers import, and forks for each start.

Importing takes most of the CPU time of a start: almost a second, for hundreds of starts in a run of
the tests. The fork has the imports already. Everything else it does itself, as a fresh interpreter
does: its environment, settings, Django's apps and the reactor. So this process reads no settings,
has no threads and opens no files.

A start arrives on the socket whose descriptor is the argument: the descriptors that the process
gets, and a socket of its own. That socket carries the start as JSON, and the answers: the process
id, and when the process has ended, its return code.
"""

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from struct import pack
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from config.tokens import TokenVariables
from config.variables import Carillon, Project
from notifications.conf.explanation import schema_of
from notifications.management.server import worker
from tests.harness.warm import Forking, WarmProcess
from tests.harness.warm_program import become, run_to_the_end

# None of these reads settings when it is imported. A module that reads an environment variable then
# needs an entry in READ_AT_IMPORT of `warm.py`.
MODULES = (
    "channels.apps",
    "channels.auth",
    "channels.generic.websocket",
    "channels.routing",
    "channels.security.websocket",
    "config.docs_pages",
    "config.static_files",
    "config.storage",
    "config.variables",
    "daphne.access",
    "daphne.endpoints",
    "daphne.http_protocol",
    "daphne.utils",
    "daphne.ws_protocol",
    "demo.answers",
    "demo.loader",
    "demo.notes",
    "demo.slow_data",
    "django.contrib.admin",
    "django.contrib.admin.apps",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admin.templatetags.admin_modify",
    "django.contrib.admin.views.main",
    "django.contrib.auth.apps",
    "django.contrib.auth.password_validation",
    "django.contrib.auth.tokens",
    "django.contrib.auth.validators",
    "django.contrib.contenttypes.apps",
    "django.contrib.messages.apps",
    "django.contrib.messages.middleware",
    "django.contrib.sessions.apps",
    "django.contrib.sessions.backends.cached_db",
    "django.contrib.sessions.backends.signed_cookies",
    "django.contrib.sessions.middleware",
    "django.contrib.sites.shortcuts",
    "django.contrib.staticfiles.apps",
    "django.contrib.staticfiles.handlers",
    "django.contrib.staticfiles.storage",
    "django.core.cache.backends.locmem",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.core.servers.basehttp",
    "django.db.backends.sqlite3.base",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.csrf",
    "django.middleware.http",
    "django.middleware.security",
    "django.template.defaultfilters",
    "django.template.defaulttags",
    "django.template.loader_tags",
    "django.templatetags.cache",
    "django.test.client",
    "django.views.i18n",
    "environ",
    "jinja2",
    "markdown.extensions.tables",
    "notifications.apps",
    "notifications.asgi.handler",
    "notifications.asgi.start_params",
    "notifications.hub.reports",
    "notifications.inbox.apps",
    "notifications.inbox.completion",
    "notifications.inbox.delivery.email",
    "notifications.inbox.delivery.unsubscribing",
    "notifications.inbox.lists",
    "notifications.inbox.numbering",
    "notifications.inbox.push.sender",
    "notifications.inbox.push.sessions",
    "notifications.inbox.rendering",
    "notifications.management.carillon.dev",
    "notifications.publishing.rate_limit",
    "notifications.publishing.token_stream",
    "notifications.streaming",
    "notifications.views.bodies",
    "notifications.views.history.export",
    "notifications.views.security_headers",
    "notifications.websocket.multiplex",
    "pydantic_settings",
    "pythonjsonlogger.json",
    "redis.asyncio",
    "twisted.internet.asyncioreactor",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "whitenoise.middleware",
    "whitenoise.storage",
)
MAX_DESCRIPTORS = 100


def forked_start(control: socket.socket, *, terminating: bool) -> dict[str, Any] | None:
    """Fork for each start that arrives. Returns it in the fork, and None when the socket ends.

    `terminating` the processes that run then is for what no test may leave behind.
    """
    running: dict[int, tuple[int, int]] = {}  # by descriptor of the process: its id and its socket
    while True:
        for ready in select.select([control.fileno(), *running], [], [])[0]:
            if ready in running:
                pid, link = running.pop(ready)
                _answer(link, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(link)
                os.close(ready)
                continue
            data, descriptors, _, _ = socket.recv_fds(control, 1, MAX_DESCRIPTORS)
            if not data:
                for pid, _ in running.values() if terminating else ():
                    os.kill(pid, signal.SIGTERM)
                return None
            link, *given = descriptors
            with open(link, closefd=False) as file:
                start: dict[str, Any] = json.loads(file.readline())
            pid = os.fork()
            if not pid:
                control.close()
                _take_descriptors(given, start["descriptors"])
                return start
            _answer(link, pid)
            running[os.pidfd_open(pid)] = pid, link
            for descriptor in given:
                os.close(descriptor)


def _answer(link: int, number: int) -> None:
    with suppress(OSError):  # the test may not wait for the end
        os.write(link, pack("!i", number))


def _take_descriptors(given: list[int], numbers: list[int]) -> None:
    """Give the descriptors these numbers, and close all others."""
    above = [fcntl.fcntl(each, fcntl.F_DUPFD, max(numbers) + 1) for each in given]
    for descriptor, number in zip(above, numbers, strict=True):
        os.dup2(descriptor, number)
    _close_all_but(set(numbers))


def _close_all_but(numbers: set[int]) -> None:
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) not in numbers:
            with suppress(OSError):  # the descriptor of the folder that was listed
                os.close(int(path.name))


def is_supervisor(arguments: list[str]) -> bool:
    return arguments[:3] == ["manage.py", "carillon", "serve"] and "--skip-checks" not in arguments


class WarmWorker(WarmProcess):
    """A worker process of `carillon serve`. Its parent is a process that the supervisor forked."""


def start_of_worker() -> dict[str, Any] | None:
    """Fork a process that forks the supervisor's workers, so that they need not import either.

    Returns None in the supervisor, and the worker's start in a worker. Only the interpreter as it
    is now can be forked: the supervisor is about to read settings.
    """
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        WarmWorker.forking = staticmethod(repeat(Forking(ours)).__next__)
        vars(worker)["subprocess"] = SimpleNamespace(Popen=WarmWorker)
        return None
    ours.close()
    _close_all_but({0, 1, 2, theirs.fileno()})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A supervisor that is killed leaves its workers, which end by themselves.
    start = forked_start(theirs, terminating=False)
    if start is None:
        os._exit(0)  # it has nothing to end
    become(start)
    return start


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and they end this process
    for name in MODULES:
        importlib.import_module(name)
    for model in (Carillon, Project, TokenVariables):
        schema_of(model)  # which each process of the project needs, and keeps
    # A hash of a password takes as much CPU as a start, and those of tests protect nothing.
    PBKDF2PasswordHasher.iterations = 1
    assert threading.active_count() == 1, "A fork has only one of the threads."
    assert "twisted.internet.reactor" not in sys.modules, "A fork would share its descriptors."
    gc.collect()
    gc.freeze()  # or else the collector of each fork would copy the memory that it looks at
    start = forked_start(socket.socket(fileno=int(sys.argv[1])), terminating=True)
    if start:
        become(start)
        if is_supervisor(start["arguments"]):
            start = start_of_worker() or start
        run_to_the_end(start["arguments"])


if __name__ == "__main__":
    main()
