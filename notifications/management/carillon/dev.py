"""`carillon dev`: everything a developer needs, in one process, on a fresh checkout."""

import shlex
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.shortcuts import resolve_url
from django.urls import reverse

from notifications.conf import get_settings
from notifications.management.server import launch
from notifications.management.server.ipc import SignalCommands
from notifications.management.server.listener import listen, url_of

HELP = "Serves for development: migrates the database, starts the embedded log, and prints URLs."

DEVELOPER_NAME = "admin"


def add_arguments(parser: ArgumentParser) -> None:
    launch.add_arguments(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    with (
        launch.until_interrupted(),
        listen(options["host"], options["port"]) as listener,
        launch.embedded_log(),
    ):
        _prepare_database()
        command.stdout.write(_welcome(url_of(listener)))
        command.stdout.flush()
        launch.serve(listener, SignalCommands())


def _prepare_database() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model()._default_manager  # noqa: SLF001 - Django's own name for it
    password = _password()
    if password and not users.filter(username=DEVELOPER_NAME).exists():
        users.create_superuser(DEVELOPER_NAME, password=password)


def _password() -> str | None:
    """The password of the developer's login, from the project's settings, and only with DEBUG."""
    return getattr(settings, "DEVELOPMENT_PASSWORD", None) if settings.DEBUG else None


def _welcome(url: str) -> str:
    lines = [
        f"Carillon runs at {url}/ (Ctrl-C ends it)",
        f"  log      {launch.log_description()}",
        f"  page     {url}/",
    ]
    if password := _password():
        login = f"{url}{resolve_url(settings.LOGIN_URL)}?next=/"
        lines.append(
            f"  sign in  {login} as {DEVELOPER_NAME}, password {password} unless you changed it"
        )
    if keys := get_settings().PUBLISH_KEYS:
        lines.append(f"  publish  {_curl(url, keys[0])}")
    return "\n".join(lines)


def _curl(url: str, key: str) -> str:
    """A command to paste, which publishes to a public topic."""
    prefix = next(iter(get_settings().PUBLIC_TOPICS), "demo.")
    topic = f"{prefix}hello" if prefix.endswith(".") else prefix
    arguments = ["-H", f"Authorization: Bearer {key}", "-d", f"topic={topic}", "-d", "data=Hello!"]
    return shlex.join(["curl", *arguments, f"{url}{reverse('carillon:publish')}"])
