"""`carillon push-key`: makes the key of a site that sends push messages."""

from argparse import ArgumentParser
from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError

HELP = "Makes a key for push messages (VAPID), and prints it."


def add_arguments(_: ArgumentParser) -> None:
    pass


def handle(command: BaseCommand, _: dict[str, Any]) -> None:
    if find_spec("webpush") is None or find_spec("httpx") is None:
        raise CommandError("Push messages need: pip install 'django-carillon[push]'")
    from notifications.inbox.push.keys import make_key

    command.stderr.write(
        "Set CARILLON['PUSH_KEY'] to this key, and keep it secret. Devices that have subscribed "
        "with another key subscribe again when they next open a page with the bell."
    )
    command.stdout.write(make_key())
