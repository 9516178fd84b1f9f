"""`carillon serve`: production. It migrates nothing and makes no keys."""

import socket
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notifications.conf import get_settings
from notifications.management.server import launch
from notifications.management.server.ipc import MasterOrders
from notifications.management.server.listener import address, listen_together, raise_limit
from notifications.management.server.metrics_dir import scoreboard
from notifications.management.server.supervisor import CannotStart, Master

HELP = "Serves in production: streams, publishing and the page."
SIGNALS = """
SIGTERM or Ctrl-C ends it in good order, within CARILLON['DRAIN_SECONDS'] and a few seconds more;
a second one ends it at once. SIGHUP replaces its processes one after another, without refusing or
losing anybody: a deployment. docs/run.md has the rest.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = SIGNALS
    launch.add_arguments(parser)
    parser.add_argument(
        "--workers",
        metavar="N",
        type=launch.whole(1),
        default=getattr(settings, "WEB_CONCURRENCY", 1),
        help="how many processes serve (settings.WEB_CONCURRENCY, %(default)s)",
    )
    parser.add_argument(
        "--server",
        choices=launch.SERVERS,
        default="daphne",
        help="what serves (%(default)s); with uvloop and httptools installed, uvicorn uses them",
    )
    parser.add_argument(
        "--proxy-headers",
        action="store_true",
        help="believe X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them",
    )
    # What a master gives to its workers. It has checked already.
    parser.add_argument("--fd", type=int, help=SUPPRESS)
    parser.add_argument("--skip-checks", action="store_true", default=SUPPRESS, help=SUPPRESS)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    _refuse_several_logs(options["workers"])
    launch.require(options["server"])
    with launch.until_told(), ExitStack() as stack:
        if options["fd"] is not None:
            listener = stack.enter_context(socket.socket(fileno=options["fd"]))
            launch.serve(
                listener,
                MasterOrders(),
                by=options["server"],
                proxy_headers=options["proxy_headers"],
            )
            return
        listeners = listen_together(options["host"], options["port"], options["workers"])
        for listener in listeners:
            stack.enter_context(listener)
        raise_limit()
        stack.enter_context(launch.log_running())
        _say(command, address(listeners[0]), options)
        try:
            Master(listeners, stack.enter_context(scoreboard())).run()
        except CannotStart:
            raise CommandError("Nothing serves: what is wrong is said above.") from None


def _say(command: BaseCommand, url: str, options: dict[str, Any]) -> None:
    workers = options["workers"]
    command.stdout.write(
        f"Carillon serves {url}/ with {options['server']}, "
        f"{workers} {'process' if workers == 1 else 'processes'}; the log is {launch.log_named()}"
    )
    command.stdout.flush()


def _refuse_several_logs(workers: int) -> None:
    if workers > 1 and get_settings().LOG == "memory":
        raise CommandError(
            f"With CARILLON['LOG'] = 'memory' each of {workers} processes would have a log of its "
            "own: serve with --workers 1, or set CARILLON['REDIS_URL']."
        )
