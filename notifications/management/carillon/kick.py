"""`carillon kick`: ends the streams of a user or a topic, in every process."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from notifications.errors import Invalid
from notifications.hub.primary import reads_from_primary
from notifications.publishing import control

HELP = (
    "Ends the streams of a user or of a topic, in every process. Browsers reconnect, and are "
    "accepted if the rules still allow it: withdraw the permission first."
)
FLUSH_SECONDS = 5.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="USER|TOPIC", help="a user's name, or else a topic")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--user", action="store_true", help="take TARGET for a user's name only")
    kind.add_argument("--topic", action="store_true", help="take TARGET for a topic only")


def handle(
    command: BaseCommand, options: dict[str, Any], *, flush_seconds: float = FLUSH_SECONDS
) -> None:
    target = options["target"]
    with reads_from_primary():
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
    if not control.flush(flush_seconds):
        raise CommandError("The log cannot be reached, so no other process was notified.")
    which = f"of the user {target}" if user is not None else f"subscribed to {target}"
    command.stdout.write(f"Every process was ordered to end the streams {which}.")


def _user(name: str) -> object | None:
    users = get_user_model()
    return users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()  # noqa: SLF001
