"""`carillon dev`: everything a developer needs, in one process, on a fresh checkout."""

import json
import shlex
from argparse import ArgumentParser
from contextlib import ExitStack
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
from notifications.management.carillon import launch
from notifications.management.server.listener import listen
from notifications.management.server.messages import Commands
from notifications.topics import example_topic

HELP = "Serves for development: migrates the database, starts the embedded log, and prints URLs."

DEVELOPER_NAME = "admin"
GUEST_NAME = "guest"
"""Somebody else, who is no staff: to send notifications to."""


def add_arguments(parser: ArgumentParser) -> None:
    launch.add_arguments(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    host = options["host"]
    with launch.until_interrupted(), ExitStack() as stack:
        listeners = listen(host, options["port"])[0]
        for listener in listeners:
            stack.enter_context(listener)
        stack.enter_context(launch.embedded_log())
        _prepare_database()
        command.stdout.write(_welcome(launch.url_of(host, listeners)))
        command.stdout.flush()
        launch.serve(listeners, Commands())


def _prepare_database() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model()._default_manager  # noqa: SLF001 - Django's own name for it
    password = _password()
    if password and not users.filter(username=DEVELOPER_NAME).exists():
        users.create_superuser(DEVELOPER_NAME, password=password)
        users.create_user(GUEST_NAME, password=password)


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
            f"  sign in  {login} as {DEVELOPER_NAME}, password {password} unless you changed it; "
            f"{GUEST_NAME} has the same"
        )
    if keys := get_settings().PUBLISH_KEYS:
        lines.append(f"  publish  {publish_command(url, keys[0])}")
    return "\n".join(lines)


def publish_command(url: str, key: str) -> str:
    """A command to paste, which publishes to the topic that the page shows."""
    topic = example_topic(get_settings().PUBLIC_TOPICS) or "demo.hello"
    headers = f"Authorization: Bearer {key}", "Content-Type: application/json"
    body = json.dumps({"topic": topic, "data": {"text": "Hello!"}})
    options = [part for header in headers for part in ("-H", header)]
    return shlex.join(["curl", f"{url}{reverse('carillon:publish')}", *options, "-d", body])
