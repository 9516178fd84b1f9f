"""`carillon publish`: publishes one event from a shell."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notifications.errors import CarillonError
from notifications.management.carillon.subcommand import explain_error
from notifications.publishing.publisher import publish

HELP = "Publishes one event, and prints its cursor in the log."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "topic", metavar="TOPIC", help="the topic to publish to, such as demo.hello"
    )
    parser.add_argument("data", metavar="DATA", help="text, sent as it is")
    parser.add_argument("--json", action="store_true", help="DATA is JSON instead of text")
    parser.add_argument("--type", help="the event's type, for a browser's addEventListener")
    parser.add_argument("--id", help="a name for the event; without one, Carillon makes it")
    parser.add_argument(
        "--idempotency-key", help="publish only once, however often the command is repeated"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    data = options["data"]
    if options["json"]:
        try:
            data = json.loads(data)
        except ValueError as error:
            raise CommandError(f"DATA is not JSON: {error}") from None
    try:
        event = publish(
            options["topic"],
            data,
            type=options["type"],
            id=options["id"],
            idempotency_key=options["idempotency_key"],
        )
    except CarillonError as error:
        raise CommandError(explain_error(error)) from None
    command.stdout.write(str(event.cursor))
