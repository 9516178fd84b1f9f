"""What a module must have to be a subcommand of `manage.py carillon`."""

from argparse import ArgumentParser
from typing import Any, Protocol

from django.core.management.base import BaseCommand

from notifications.conf import get_settings
from notifications.errors import CarillonError, Unavailable


class Subcommand(Protocol):
    HELP: str

    def add_arguments(self, parser: ArgumentParser, /) -> None: ...

    def handle(self, command: BaseCommand, options: dict[str, Any], /) -> None: ...


# What to tell somebody at a shell who could not reach the log.


def explained(error: CarillonError) -> str:
    if isinstance(error, Unavailable) and get_settings().LOG == "embedded":
        return "The embedded log is not running: start ./run first, or set REDIS_URL."
    return error.detail
