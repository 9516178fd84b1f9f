"""`carillon relay`: publishes the events of the outbox, and sends what the inbox has to deliver."""

import threading
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import router
from django.utils import timezone

from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.inbox.delivery.table import retry_failed, waiting
from notifications.inbox.delivery.threads import delivery_threads
from notifications.inbox.table import notifications
from notifications.management.carillon import launch
from notifications.management.carillon.subcommand import print_table
from notifications.publishing import outbox
from notifications.publishing.outbox import Relay, RelayThreads

HELP = (
    "Relays the outbox, and sends the e-mails and push messages of the inbox, until Ctrl-C or "
    "SIGTERM. One relay of a database is active, and any number of others stand by; all of them "
    "send."
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        help="relay only this one of CARILLON['OUTBOX_DATABASES']",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--status",
        action="store_true",
        help="print how many events wait, and for how long; then exit",
    )
    action.add_argument(
        "--retry-refused",
        action="store_true",
        help="try again what could not be published or delivered; then exit",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    databases = _databases(options["database"])
    try:
        if options["status"]:
            _print_status(command, databases)
        elif options["retry_refused"]:
            number = sum(map(outbox.retry_refused, databases))
            number += sum(map(retry_failed, _with_deliveries(databases)))
            command.stdout.write(f"Tried again: {number}")
        else:
            _relay(command, databases)
    except DatabaseError as error:
        raise CommandError(f"The database has no outbox ({error}): is it migrated?") from None


def _databases(alias: str | None) -> Sequence[str]:
    known = get_settings().OUTBOX_DATABASES
    if alias is None:
        return known
    if alias not in known:
        raise CommandError(f"CARILLON['OUTBOX_DATABASES'] is {list(known)}, without {alias!r}.")
    return [alias]


def _with_deliveries(databases: Sequence[str]) -> Sequence[str]:
    """The database of the inbox, if it is one of these. With tenants, `carillon deliver` is it."""
    if not apps.is_installed("notifications.inbox") or namespaces.is_used():
        return []
    inbox = router.db_for_write(notifications())
    return [using for using in databases if using == inbox]


def _relay(command: BaseCommand, databases: Sequence[str]) -> None:
    settings = get_settings()
    if settings.LOG == "memory":
        raise CommandError(
            "CARILLON['LOG'] is 'memory': no other process gets what this one publishes. Set "
            "CARILLON['REDIS_URL'], or relay in the process that serves ('OUTBOX': 'in-process')."
        )
    relays = RelayThreads(Relay(using, settings) for using in databases)
    deliveries = [
        thread
        for using in _with_deliveries(databases)
        for thread in delivery_threads(using, settings)
    ]
    with launch.until_interrupted():
        for using in databases:
            outbox.backlog(using)  # raises `DatabaseError` if the outbox cannot be read
        command.stdout.write(
            f"Relaying from {', '.join(databases)} into {launch.log_description()}"
        )
        command.stdout.flush()
        launch.tune_garbage_collector()
        relays.start()
        for delivery in deliveries:
            delivery.start()
        try:
            threading.Event().wait()
        finally:
            relays.stop()
            for delivery in deliveries:
                delivery.stop()


def _print_status(command: BaseCommand, databases: Sequence[str]) -> None:
    rows = [("DATABASE", "WAITING", "OLDEST", "REFUSED", "RELAY")]
    for using in databases:
        backlog = outbox.backlog(using)
        relay = "at work" if backlog.relayed else "none"
        oldest = f"{backlog.age:.1f} s" if backlog.waiting else "-"
        rows.append((using, str(backlog.waiting), oldest, str(backlog.refused), relay))
    print_table(command, rows)
    deliveries = [("DELIVERIES", "WAITING", "LATE", "FAILED")]
    for using in _with_deliveries(databases):
        found = waiting(using, timezone.now())
        late = f"{found.late:.0f} s" if found.late else "-"
        deliveries.append((using, str(found.waiting), late, str(found.failed)))
    if deliveries[1:]:
        print_table(command, deliveries)
