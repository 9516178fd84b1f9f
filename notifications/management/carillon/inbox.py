"""`carillon inbox`: exports and erases the notifications of one person, and imports others."""

from argparse import ArgumentParser
from itertools import batched
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model
from django.utils import translation

from notifications.conf import get_settings
from notifications.events import compact_json
from notifications.inbox import retention
from notifications.inbox.importing import SOURCES, NothingToImport, import_rows
from notifications.inbox.languages import languages_of
from notifications.inbox.objects import load_objects
from notifications.inbox.preferences.person import read_preferences
from notifications.inbox.push.devices import describe, devices
from notifications.inbox.rendering import Renderer
from notifications.inbox.table import BATCH_ROWS, rows
from notifications.management.carillon.subcommand import inbox_database

HELP = "Exports or erases the notifications of one person, or imports those of another package."


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    export_help = (
        "Prints what is stored of a user, as JSON lines: preferences and devices, then "
        "notifications with their text."
    )
    export = actions.add_parser("export", help=export_help, description=export_help)
    erase_help = "Deletes all notifications and devices of a user."
    erase = actions.add_parser("erase", help=erase_help, description=erase_help)
    erase.add_argument(
        "--as-actor",
        action="store_true",
        help="also those of other people in which the user is the actor",
    )
    import_help = "Imports the rows of another package, each once. Nobody is notified of them."
    importing = actions.add_parser("import", help=import_help, description=import_help)
    importing.add_argument(
        "source",
        choices=SOURCES,
        help="django-notifications-community (or -hq), or django-generic-notifications",
    )
    importing.add_argument("--table", default="", help="if the model was replaced: its table")
    for action in (export, erase):
        action.add_argument("user", metavar="USER", help="the user's name, as for a log-in")
    for action in (export, erase, importing):
        action.add_argument("--database", metavar="ALIAS", help="the database of the inbox")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    actions = {"export": _export, "erase": _erase}
    with inbox_database(options["database"]) as using:
        if options["action"] == "import":
            _import(command, using, options)
            return
        user = _user(options["user"], using)
        actions[options["action"]](command, user, using, options)


def _user(name: str, using: str) -> Model:
    users = get_user_model()
    found = users._default_manager.db_manager(using)  # noqa: SLF001 - documented
    user = found.filter(**{users.USERNAME_FIELD: name}).first()
    if user is None:
        raise CommandError(f"There is no user called {name!r}.")
    return user


def _export(command: BaseCommand, user: Model, using: str, _: dict[str, Any]) -> None:
    chosen = {"preferences": read_preferences(user), "devices": describe(user, using)}
    command.stdout.write(compact_json(chosen))
    stored = rows(using).filter(recipient_id=user.pk).select_related("actor_type", "target_type")
    stored = stored.order_by("created_at", "pk")
    for some in batched(stored.iterator(chunk_size=BATCH_ROWS), BATCH_ROWS):
        load_objects(some)
        [language] = languages_of([user.pk], using)
        with translation.override(language):
            renderer = Renderer()
            for row in some:
                content = renderer.content(row)
                shown = {"text": content.text, "html": content.html, "language": language}
                command.stdout.write(compact_json(retention.columns_of(row) | shown))


def _erase(command: BaseCommand, user: Model, using: str, options: dict[str, Any]) -> None:
    erased = retention.erase(user, using=using)
    devices(using).filter(recipient_id=user.pk).delete()
    command.stdout.write(f"Erased: {erased}.")
    if options["as_actor"]:
        others = retention.erase_as_actor(user, using=using)
        command.stdout.write(f"Erased, of other people: {others}.")
    elif others := retention.count_as_actor(user, using=using):
        command.stdout.write(
            f"{others} of other people have this user as their actor: --as-actor erases them too."
        )
    hours = f"{get_settings().HISTORY_AGE / 3600:g} hours"
    command.stdout.write(
        f"The log drops the text of what was published after {hours} (HISTORY_AGE)."
    )


def _import(command: BaseCommand, using: str, options: dict[str, Any]) -> None:
    try:
        done = import_rows(options["source"], using=using, table=options["table"])
    except NothingToImport as error:
        raise CommandError(f"The database {using!r} has no table {error}.") from None
    command.stdout.write(
        f"Imported: {done.new}. Known already: {done.known}. Older than INBOX_AGE: {done.old}."
    )
