"""`carillon dev`: all that a developer needs, in one process, on a fresh checkout."""

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
from notifications.management.server.ipc import SignalOrders
from notifications.management.server.listener import address, listen

HELP = "Serves for development: migrates, starts the embedded log, and says where to click."

DEVELOPER = "admin"


def add_arguments(parser: ArgumentParser) -> None:
    launch.add_arguments(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    with (
        launch.until_told(),
        listen(options["host"], options["port"]) as listener,
        launch.log_running(),
    ):
        _prepare_database()
        command.stdout.write(_welcome(address(listener)))
        command.stdout.flush()
        launch.serve(listener, SignalOrders())


def _prepare_database() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model()._default_manager  # noqa: SLF001 - Django's own name for it
    password = _password()
    if password and not users.filter(username=DEVELOPER).exists():
        users.create_superuser(DEVELOPER, password=password)


def _password() -> str | None:
    """For the developer's login: given by the project's settings, and in development alone."""
    return getattr(settings, "DEVELOPMENT_PASSWORD", None) if settings.DEBUG else None


def _welcome(url: str) -> str:
    lines = [
        f"Carillon runs at {url}/ (Ctrl-C ends it)",
        f"  log      {launch.log_named()}",
        f"  page     {url}/",
    ]
    if password := _password():
        login = f"{url}{resolve_url(settings.LOGIN_URL)}?next=/"
        lines.append(
            f"  sign in  {login} as {DEVELOPER}, password {password} unless you changed it"
        )
    if keys := get_settings().PUBLISH_KEYS:
        lines.append(f"  publish  {_curl(url, keys[0])}")
    return "\n".join(lines)


def _curl(url: str, key: str) -> str:
    """A line to paste, which publishes where anybody may listen."""
    prefix = next(iter(get_settings().PUBLIC_TOPICS), "demo.")
    topic = f"{prefix}hello" if prefix.endswith(".") else prefix
    words = ["-H", f"Authorization: Bearer {key}", "-d", f"topic={topic}", "-d", "data=Hello!"]
    return shlex.join(["curl", *words, f"{url}{reverse('carillon:publish')}"])
