"""`carillon serve`: production. It migrates nothing and makes no keys."""

import os
import signal
import socket
import sys
import threading
from argparse import SUPPRESS, ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notifications.conf import get_settings
from notifications.management.carillon import master, server
from notifications.management.carillon.listener import address, listen

HELP = "Serves in production: streams, publishing and the page."


def add_arguments(parser: ArgumentParser) -> None:
    server.add_arguments(parser)
    parser.add_argument(
        "--workers",
        type=int,
        default=getattr(settings, "WEB_CONCURRENCY", 1),
        help="how many processes serve (settings.WEB_CONCURRENCY, %(default)s)",
    )
    parser.add_argument("--fd", type=int, help=SUPPRESS)  # what a master gives to its workers


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    _refuse_several_logs(options["workers"])
    with server.until_told(), ExitStack() as stack:
        if options["fd"] is not None:
            _work(stack.enter_context(socket.socket(fileno=options["fd"])))
            return
        listener = stack.enter_context(listen(options["host"], options["port"]))
        stack.enter_context(server.log_running())
        url, workers = address(listener), options["workers"]
        command.stdout.write(f"Carillon serves {url}/ with {workers} process(es).")
        command.stdout.flush()
        if workers == 1:
            server.serve(listener)
        else:
            master.run(_shares(listener, workers, stack))


def _refuse_several_logs(workers: int) -> None:
    if workers > 1 and get_settings().LOG == "memory":
        raise CommandError(
            f"With CARILLON['LOG'] = 'memory' each of {workers} processes would have a log of its "
            "own: serve with --workers 1, or set CARILLON['REDIS_URL']."
        )


def _shares(listener: socket.socket, count: int, stack: ExitStack) -> list[socket.socket]:
    """As many sockets of the same port, in place of one that had it alone."""
    host, port = listener.getsockname()[:2]
    listener.close()
    return [stack.enter_context(listen(host, port, shared=True)) for _ in range(count)]


def _work(listener: socket.socket) -> None:
    """A worker ends when its master does, however that ends: it holds the other end of stdin."""

    def end_with_master() -> None:
        os.read(sys.stdin.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_master, daemon=True).start()
    server.serve(listener)
