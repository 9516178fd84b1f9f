"""`carillon kick`: ends streams, everywhere."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from notifications.errors import Invalid
from notifications.publishing import control

HELP = (
    "Ends the streams of a user or of a topic, in every process. Browsers come back, and are let "
    "in if the rules still allow it: end the permission first."
)
PATIENCE = 5.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="USER|TOPIC", help="a user's name, or else a topic")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--user", action="store_true", help="it is a user's name and nothing else")
    kind.add_argument("--topic", action="store_true", help="it is a topic, whoever is called so")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    target = options["target"]
    user = None if options["topic"] else _user(target)
    if options["user"] and user is None:
        raise CommandError(f"There is no user called {target!r}.")
    try:
        if user is not None:
            control.kick(user=user)
        else:
            control.kick(topic=target)
    except Invalid as error:
        raise CommandError(error.detail) from None
    if not control.flush(PATIENCE):
        raise CommandError("The log cannot be reached, so that no other process was told.")
    whose = f"of the user {target}" if user is not None else f"that hear {target}"
    command.stdout.write(f"Every process was told to end the streams {whose}.")


def _user(name: str) -> object | None:
    users = get_user_model()
    return users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()  # noqa: SLF001
