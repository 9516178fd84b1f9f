"""`carillon deliver`: sends what the inbox has to deliver by now, once."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from notifications.inbox.delivery.deliverer import send_due
from notifications.inbox.delivery.senders import Away
from notifications.management.carillon.subcommand import inbox_database

HELP = (
    "Sends the e-mails and push messages of the inbox that are due, and exits. For a timer, once a "
    "minute or so, where no 'carillon relay' runs, and for each tenant of a site that has some."
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--database", metavar="ALIAS", help="the database of the inbox, if a router has several"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    with inbox_database(options["database"]) as using:
        try:
            done = send_due(using=using)
        except (Away, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from None
    command.stdout.write(
        f"Sent: {done.sent}. Suppressed: {done.suppressed}. Postponed: {done.postponed}. "
        f"Failed: {done.failed}. Closed: {done.closed}."
    )
