"""What a module must have to be a subcommand of `manage.py carillon`."""

from argparse import ArgumentParser
from typing import Any, Protocol

from django.core.management.base import BaseCommand


class Subcommand(Protocol):
    HELP: str

    def add_arguments(self, parser: ArgumentParser, /) -> None: ...

    def handle(self, command: BaseCommand, options: dict[str, Any], /) -> None: ...
