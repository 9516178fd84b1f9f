"""A Django process beside the servers, in which a test runs code line by line."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness.servers import environment
from tests.harness.warm import python_process

SHELL = """
import json, sys, django
django.setup()
from datetime import timedelta
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.backends.db import SessionStore
from notifications import kick
from notifications.access.identities import api_keys
from notifications.models import ApiKey

User = get_user_model()

def log_in(user):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return session.session_key

def issue(**fields):
    key = ApiKey(**fields)
    text = api_keys.issue(key)
    key.save()
    return text

for line in sys.stdin:
    result = None
    exec(json.loads(line))
    print(json.dumps(result), flush=True)
"""


class Shell:
    """A Django process beside the servers, as a cron job or another service would be."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    def __call__(self, code: str) -> Any:
        """Run the lines there, and return the value that they left in `result`."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(code) + "\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())


@contextmanager
def running_shell(redis_url: str, folder: Path, settings: dict[str, str]) -> Iterator[Shell]:
    with python_process(
        *("-c", SHELL),
        env=environment(redis_url, folder, settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as popen:
        try:
            yield Shell(popen)
        finally:
            popen.kill()
