"""`carillon keys`: API keys made, listed and revoked from a shell."""

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
from notifications.models import ApiKey, KeyState

HELP = "Makes, lists and revokes API keys."

DEFAULT_LIFE = "365d"
_LIFE = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNIT = {"h": "hours", "d": "days", "w": "weeks"}
_GIVEN = re.compile(r"(?:crl_)?([a-z0-9]{8})(?:_.*)?", re.ASCII)


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    create_help = "Makes a key and prints it, this once: only its hash is kept."
    usage = "%(prog)s NAME [--subscribe PATTERN …] [--publish PATTERN …] [--expires 90d]"
    create = actions.add_parser("create", help=create_help, description=create_help, usage=usage)
    create.add_argument("name", metavar="NAME", help="whose key it is, or what for")
    for verb, example in (("subscribe", "'orders.*'"), ("publish", "orders.paid")):
        create.add_argument(
            f"--{verb}",
            nargs="+",
            action="extend",
            default=[],
            metavar="PATTERN",
            help=f"what it may {verb} to, and all that is beneath, such as {example}; '*' is all",
        )
    life = create.add_mutually_exclusive_group()
    life.add_argument(
        "--expires",
        type=_life,
        default=DEFAULT_LIFE,
        metavar="DURATION",
        help="hours, days or weeks from now, such as 12h, 90d or 8w (default: %(default)s)",
    )
    life.add_argument("--never-expires", action="store_true", help="valid until it is revoked")
    list_help = "Lists all keys: what they allow, and whether they still do."
    actions.add_parser("list", help=list_help, description=list_help)
    revoke_help = "Ends a key for good, and the streams that were opened with it."
    revoke = actions.add_parser("revoke", help=revoke_help, description=revoke_help)
    revoke.add_argument(
        "key", metavar="PREFIX|NAME", help="the eight characters after crl_, or the key's name"
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    actions = {"create": _create, "list": _list, "revoke": _revoke}
    try:
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
        raise CommandError(" ".join(_faults(error))) from None
    key.save()
    command.stderr.write("Copy it now: it is not kept, and not shown again.")
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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        command.stdout.write("  ".join(cells).rstrip())


def _revoke(command: BaseCommand, options: dict[str, Any]) -> None:
    key = _named(options["key"])
    if key.state is KeyState.REVOKED:
        command.stdout.write(f"{key} was revoked before.")
        return
    key.revoke()
    command.stdout.write(f"{key} is revoked.")


def _named(given: str) -> ApiKey:
    """The one that is meant: a name may have been used again after its key was revoked."""
    prefix = _GIVEN.fullmatch(given)
    found = list(ApiKey.objects.filter(Q(name=given) | Q(prefix=prefix[1] if prefix else "")))
    living = [key for key in found if key.state is not KeyState.REVOKED] or found[:1]
    if not living:
        raise CommandError(f"No key has the prefix or name {given!r}: see 'carillon keys list'.")
    if len(living) > 1:
        prefixes = ", ".join(key.prefix for key in living)
        raise CommandError(
            f"Several keys are named {given!r}: revoke one by its prefix, {prefixes}."
        )
    return living[0]


def _life(text: str) -> timedelta:
    found = _LIFE.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a duration, such as 12h, 90d or 8w")
    return timedelta(**{_UNIT[found[2]]: int(found[1])})


def _faults(error: ValidationError) -> Iterable[str]:
    for field, faults in error.message_dict.items():
        yield from (f"{field}: {fault}" for fault in faults)
