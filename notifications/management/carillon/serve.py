"""`carillon serve`: serves in production. It migrates nothing and creates no keys."""

import signal
import socket
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from contextlib import ExitStack
from itertools import chain
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from notifications.access.tables import explain_missing, missing_tables
from notifications.conf import get_settings
from notifications.hub import metrics_exporter
from notifications.management.carillon import launch
from notifications.management.kernel import raise_descriptor_limit
from notifications.management.server.listener import listen
from notifications.management.server.messages import Commands
from notifications.management.server.slot import CannotStart
from notifications.management.server.supervisor import Supervisor
from notifications.telemetry.snapshots import Snapshots

HELP = "Serves in production: streams, publishing and the page."
SIGNALS = """
SIGTERM or Ctrl-C shuts it down gracefully, within CARILLON['DRAIN_SECONDS'] and a few seconds more;
a second signal ends it at once. SIGHUP replaces its processes one after another, without refusing
or losing a connection: use it to deploy. docs/run.md has the details.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = SIGNALS
    launch.add_arguments(parser)
    parser.add_argument(
        "--workers",
        metavar="N",
        type=launch.whole_number(1),
        default=getattr(settings, "WEB_CONCURRENCY", 1),
        help="how many processes serve (settings.WEB_CONCURRENCY, %(default)s)",
    )
    parser.add_argument(
        "--server",
        choices=launch.SERVERS,
        default="daphne",
        help="the server (%(default)s); with uvloop and httptools installed, uvicorn uses them",
    )
    parser.add_argument(
        "--proxy-headers",
        action="store_true",
        help="trust X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them",
    )
    # What the supervisor passes to its workers. It has run the system checks already.
    parser.add_argument("--fd", type=int, action="append", default=[], help=SUPPRESS)
    parser.add_argument("--snapshots", help=SUPPRESS)
    parser.add_argument("--skip-checks", action="store_true", default=SUPPRESS, help=SUPPRESS)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    _require_shared_log(options["workers"])
    launch.require_installed(options["server"])
    if options["fd"]:
        _serve_share(options)
        return
    with launch.until_interrupted(), ExitStack() as stack:
        _require_tables()
        shares = listen(options["host"], options["port"], options["workers"])
        for listener in chain.from_iterable(shares):
            stack.enter_context(listener)
        raise_descriptor_limit()
        stack.enter_context(launch.embedded_log())
        _announce(command, launch.url_of(options["host"], shares[0]), options)
        snapshots = Snapshots.create() if metrics_exporter.is_available() else None
        try:
            Supervisor(shares, snapshots).run()
        except CannotStart:
            raise CommandError("No worker could start: the reason is above.") from None


def _serve_share(options: dict[str, Any]) -> None:
    """Serve as a worker.

    Until the lifecycle handles signals, one ends the process at once: there is nothing to tidy up,
    and an exception that comes amid an import or a destructor may be printed, or swallowed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _share_metrics(options["snapshots"])
    with ExitStack() as stack:
        launch.serve(
            [stack.enter_context(socket.socket(fileno=fd)) for fd in options["fd"]],
            Commands.of_supervisor(),
            server=options["server"],
            proxy_headers=options["proxy_headers"],
        )


def _share_metrics(snapshots: str | None) -> None:
    """Exchange metrics with the other workers. A supervisor from before 2026-11 does not ask."""
    if snapshots is not None and metrics_exporter.is_available():
        from notifications.telemetry.exposition import share

        descriptor, region = map(int, snapshots.split(":"))
        share(Snapshots(descriptor), region)


def _announce(command: BaseCommand, url: str, options: dict[str, Any]) -> None:
    workers = options["workers"]
    processes = f"{workers} {'process' if workers == 1 else 'processes'}"
    command.stdout.write(
        f"Carillon serves {url}/ with {options['server']}, {processes}; "
        f"the log is {launch.log_description()}"
    )
    command.stdout.flush()


def _require_tables() -> None:
    try:
        missing = missing_tables()
    finally:
        connections.close_all()  # this process asks the database nothing else
    if missing:
        raise CommandError(explain_missing(missing))


def _require_shared_log(workers: int) -> None:
    if workers > 1 and get_settings().LOG == "memory":
        raise CommandError(
            f"With CARILLON['LOG'] = 'memory' each of {workers} processes would have its own "
            "log: serve with --workers 1, or set CARILLON['REDIS_URL']."
        )
