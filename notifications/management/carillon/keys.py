"""`carillon keys`: creates, lists and revokes API keys."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db.models import Q
from django.utils import timezone

from notifications.access.identities.api_keys import issue
from notifications.hub.primary import reads_from_primary
from notifications.management.carillon.subcommand import print_table
from notifications.models import ApiKey, KeyState

HELP = "Creates, lists and revokes API keys."

DEFAULT_LIFETIME = "365d"
_LIFETIME = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_PREFIX = re.compile(r"(?:crl_)?([a-z0-9]{8})(?:_.*)?", re.ASCII)


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    create_help = "Creates a key and prints it, only this once: the database keeps its hash."
    usage = "%(prog)s NAME [--subscribe PATTERN …] [--publish PATTERN …] [--expires 90d]"
    create = actions.add_parser("create", help=create_help, description=create_help, usage=usage)
    create.add_argument("name", metavar="NAME", help="whose key it is, or what it is for")
    for verb, example in (("subscribe", "'orders.*'"), ("publish", "orders.paid")):
        create.add_argument(
            f"--{verb}",
            nargs="+",
            action="extend",
            default=[],
            metavar="PATTERN",
            help=f"topics it may {verb} to, with all topics below, such as {example}; '*' is all",
        )
    lifetime = create.add_mutually_exclusive_group()
    lifetime.add_argument(
        "--expires",
        type=_lifetime,
        default=DEFAULT_LIFETIME,
        metavar="DURATION",
        help="hours, days or weeks from now, such as 12h, 90d or 8w (default: %(default)s)",
    )
    lifetime.add_argument("--never-expires", action="store_true", help="valid until it is revoked")
    list_help = "Lists all keys, with what they allow and whether they are active."
    actions.add_parser("list", help=list_help, description=list_help)
    revoke_help = "Revokes a key for good, and ends the streams that were opened with it."
    revoke = actions.add_parser("revoke", help=revoke_help, description=revoke_help)
    revoke.add_argument(
        "key", metavar="PREFIX|NAME", help="the eight characters after crl_, or the key's name"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    actions = {"create": _create, "list": _list, "revoke": _revoke}
    try:
        with reads_from_primary():
            actions[options["action"]](command, options)
    except DatabaseError as error:
        raise CommandError(f"The database has no keys ({error}): is it migrated?") from None


def _create(command: BaseCommand, options: dict[str, Any]) -> None:
    key = ApiKey(
        name=options["name"],
        subscribe=options["subscribe"],
        publish=options["publish"],
        expires_at=None if options["never_expires"] else timezone.now() + options["expires"],
    )
    text = issue(key)
    try:
        key.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(_messages(error))) from None
    key.save()
    command.stderr.write("Copy the key now: it is not kept, and not shown again.")
    command.stdout.write(text)


def _list(command: BaseCommand, _: dict[str, Any]) -> None:
    rows = [("KEY", "NAME", "STATE", "EXPIRES", "SUBSCRIBE", "PUBLISH")]
    rows += [
        (
            f"crl_{key.prefix}",
            key.name,
            key.state.value,
            f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never",
            " ".join(key.subscribe) or "-",
            " ".join(key.publish) or "-",
        )
        for key in ApiKey.objects.all()
    ]
    print_table(command, rows)


def _revoke(command: BaseCommand, options: dict[str, Any]) -> None:
    key = _find(options["key"])
    if key.state is KeyState.REVOKED:
        command.stdout.write(f"{key} was already revoked.")
        return
    key.revoke()
    command.stdout.write(f"{key} is revoked.")


def _find(text: str) -> ApiKey:
    """The key with this prefix or name. A name may be used again after its key was revoked."""
    prefix = _PREFIX.fullmatch(text)
    keys = list(ApiKey.objects.filter(Q(name=text) | Q(prefix=prefix[1] if prefix else "")))
    valid = [key for key in keys if key.state is not KeyState.REVOKED] or keys[:1]
    if not valid:
        raise CommandError(f"No key has the prefix or name {text!r}: see 'carillon keys list'.")
    if len(valid) > 1:
        prefixes = ", ".join(key.prefix for key in valid)
        raise CommandError(
            f"Several keys are named {text!r}: revoke one by its prefix, {prefixes}."
        )
    return valid[0]


def _lifetime(text: str) -> timedelta:
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a duration, such as 12h, 90d or 8w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _messages(error: ValidationError) -> Iterable[str]:
    for field, messages in error.message_dict.items():
        yield from (f"{field}: {message}" for message in messages)
