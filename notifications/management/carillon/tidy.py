"""`carillon tidy`: expires and deletes notifications that are due."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from notifications.inbox.changes import expire
from notifications.inbox.retention import tidy
from notifications.management.carillon.subcommand import inbox_database

HELP = (
    "Expires the notifications whose time has come, and deletes those that are older than "
    "CARILLON['INBOX_AGE'], the 'keep' of their category, or CARILLON['INBOX_ARCHIVED_AGE']. Run "
    "it by a timer, such as once an hour."
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--database", metavar="ALIAS", help="the database of the inbox, if a router has several"
    )
    parser.add_argument(
        "--expire-only",
        action="store_true",
        help="delete nothing: cheap enough for once a minute",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    with inbox_database(options["database"]) as using:
        if options["expire_only"]:
            command.stdout.write(f"Expired: {expire(using=using)}.")
            return
        done = tidy(using)
    command.stdout.write(
        f"Expired: {done.expired}. Deleted: {done.deleted}. "
        f"Published again: {done.published_again}."
    )
