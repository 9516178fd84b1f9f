"""The log in memory, on a platform without anything that only Unix has."""

import subprocess
import sys

from tests.harness.servers import ROOT

DEADLINE_SECONDS = 60.0
LIKE_WINDOWS = """
import asyncio, os, pkgutil, signal, socket, sys

for name in ("fcntl", "grp", "pwd", "resource", "termios", "syslog"):
    sys.modules[name] = None
for module, names in {
    os: ("fork", "getuid", "geteuid", "getgid", "getpgid", "killpg", "setsid"),
    signal: ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGSTOP", "SIGCONT"),
    socket: ("SO_REUSEPORT",),
}.items():
    for name in names:
        delattr(module, name)

import django
from django.conf import settings

settings.configure(
    CARILLON={"LOG": "memory", "PUBLIC_TOPICS": ["news"]},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "notifications",
        "notifications.inbox",
    ],
    ROOT_URLCONF="notifications.urls",
    SECRET_KEY="none",
    ALLOWED_HOSTS=["testserver"],
)
django.setup()

import importlib
import notifications

for module in pkgutil.walk_packages(notifications.__path__, "notifications."):
    # These need Daphne, Django's admin, and an application that few sites have.
    excluded = (".server.daphne", ".admin", ".generic")
    if not any(name in module.name for name in excluded):
        importlib.import_module(module.name)

from django.core.management import call_command
from django.test import AsyncClient
from notifications import publish
from notifications.testing import read_events

call_command("check", "--deploy", "--tag", "carillon")

async def main():
    response = await AsyncClient().get("/events/?topic=news")
    publish("news", "Hello")
    [event] = await read_events(response, 1)
    print(event.data)

asyncio.run(main())
"""


def test_a_log_in_memory_needs_nothing_that_windows_lacks() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIKE_WINDOWS],
        cwd=ROOT,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "Hello"
    assert "log.memory: events are kept in this process only" in result.stderr
