"""`manage.py carillon`: a command whose subcommands are the modules of `management/carillon`."""

from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.conf import namespace as namespaces
from notifications.management.carillon import (
    deliver,
    dev,
    doctor,
    inbox,
    keys,
    kick,
    publish,
    push_key,
    relay,
    serve,
    tail,
    tidy,
)
from notifications.management.carillon.subcommand import Subcommand

SUBCOMMANDS: dict[str, Subcommand] = {
    "dev": dev,
    "serve": serve,
    "publish": publish,
    "kick": kick,
    "relay": relay,
    "deliver": deliver,
    "tail": tail,
    "keys": keys,
    "push-key": push_key,
    "doctor": doctor,
    "inbox": inbox,
    "tidy": tidy,
}


class Command(BaseCommand):
    help = "Runs and operates Carillon, the Server-Sent Events notification service."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--namespace",
            default=None,
            metavar="TENANT",
            help="act for this tenant (CARILLON['NAMESPACE']): put it before the subcommand",
        )
        subparsers = parser.add_subparsers(
            title="subcommands", dest="subcommand", metavar="SUBCOMMAND", required=True
        )
        for name, module in SUBCOMMANDS.items():
            subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
            module.add_arguments(subparser)

    def handle(self, *_: Any, **options: Any) -> None:
        namespace = options["namespace"]
        if namespace is not None and not namespaces.is_used():
            raise CommandError("CARILLON['NAMESPACE'] is not set: this site has no tenants.")
        try:
            with nullcontext() if namespace is None else namespaces.enter(namespace):
                SUBCOMMANDS[options["subcommand"]].handle(self, options)
        except namespaces.UnknownNamespace:
            raise CommandError(f"There is no tenant {namespace!r}.") from None
