"""`carillon relay`: from the outbox into the log, and how that is going."""

import threading
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from notifications.conf import get_settings
from notifications.management.server import launch
from notifications.publishing import outbox
from notifications.publishing.outbox import Relays

HELP = (
    "Relays the outbox until it is told to end. One relay of a database is at work, and as many "
    "others as you like stand by."
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        help="only this one of CARILLON['OUTBOX_DATABASES']",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--status", action="store_true", help="print what waits, and for how long; then end"
    )
    action.add_argument(
        "--retry-refused",
        action="store_true",
        help="have what could not be published tried again; then end",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    databases = _databases(options["database"])
    try:
        if options["status"]:
            _print_status(command, databases)
        elif options["retry_refused"]:
            number = sum(map(outbox.retry_refused, databases))
            command.stdout.write(f"Tried again: {number}")
        else:
            _relay(command, databases)
    except DatabaseError as error:
        raise CommandError(f"The database has no outbox ({error}): is it migrated?") from None


def _databases(given: str | None) -> Sequence[str]:
    known = get_settings().OUTBOX_DATABASES
    if given is None:
        return known
    if given not in known:
        raise CommandError(f"CARILLON['OUTBOX_DATABASES'] is {list(known)}, without {given!r}.")
    return [given]


def _relay(command: BaseCommand, databases: Sequence[str]) -> None:
    settings = get_settings()
    if settings.LOG == "memory":
        raise CommandError(
            "CARILLON['LOG'] is 'memory': what this process publishes, no other one has. Set "
            "CARILLON['REDIS_URL'], or have the process that serves relay ('OUTBOX': 'in-process')."
        )
    relays = Relays(databases, settings)
    with launch.until_told():
        for using in databases:
            outbox.backlog(using)  # or it says what is wrong
        command.stdout.write(f"Relaying from {', '.join(databases)} into {launch.log_named()}")
        command.stdout.flush()
        relays.start()
        try:
            threading.Event().wait()
        finally:
            relays.stop()


def _print_status(command: BaseCommand, databases: Sequence[str]) -> None:
    rows = [("DATABASE", "WAITING", "OLDEST", "REFUSED", "RELAY")]
    for using in databases:
        found = outbox.backlog(using)
        relay = "at work" if found.relayed else "none"
        oldest = f"{found.age:.1f} s" if found.waiting else "-"
        rows.append((using, str(found.waiting), oldest, str(found.refused), relay))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        command.stdout.write("  ".join(cells).rstrip())
