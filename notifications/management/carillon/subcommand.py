"""The interface of a subcommand of `manage.py carillon`, and what several of them print."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Protocol

from django.core.management.base import BaseCommand

from notifications.conf import get_settings
from notifications.errors import CarillonError, Unavailable


class Subcommand(Protocol):
    """A module of this package."""

    HELP: str

    def add_arguments(self, parser: ArgumentParser, /) -> None: ...

    def handle(self, command: BaseCommand, options: dict[str, Any], /) -> None: ...


def explain_error(error: CarillonError) -> str:
    """The error for somebody at a shell, with the cure where the embedded log is not running."""
    if isinstance(error, Unavailable) and get_settings().LOG == "embedded":
        return "The embedded log is not running: start ./run first, or set REDIS_URL."
    return error.detail


def print_table(command: BaseCommand, rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows, the headings first, in columns that are as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        command.stdout.write("  ".join(cells).rstrip())
