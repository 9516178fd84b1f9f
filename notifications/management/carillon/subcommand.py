"""The interface of a subcommand of `manage.py carillon`, and what several of them print."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from notifications.conf import get_settings
from notifications.errors import CarillonError, Unavailable
from notifications.inbox.table import database, notifications


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


@contextmanager
def inbox_database(alias: str | None) -> Iterator[str]:
    """The database of the inbox, by default the one that the routers choose."""
    try:
        using = alias or database()
        if using not in get_settings().OUTBOX_DATABASES:
            known = list(get_settings().OUTBOX_DATABASES)
            raise CommandError(f"CARILLON['OUTBOX_DATABASES'] is {known}, without {alias!r}.")
        notifications()
        yield using
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    except DatabaseError as error:
        raise CommandError(f"The database has no inbox ({error}): is it migrated?") from None
