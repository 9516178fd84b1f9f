"""The database of a measured build: a crowd of users, and the sessions of their browsers."""

import subprocess
from pathlib import Path

from benchmarks import peers
from benchmarks.builds import Build
from benchmarks.processes import Broken

FILE = "db.sqlite3"
SESSION_OF_USER = "bench%027d"
"""The key of the session of the user with this number, from 1 on."""
SESSION_OF_ONE = "alone%027d"
"""The key of one of as many sessions of user 1."""
MAKE_DATABASE = """
import time
from datetime import timedelta
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone
call_command("migrate", verbosity=0)
numbers = range(1, {users} + 1)
User.objects.bulk_create(
    [User(pk=number, username=f"bench{{number}}", password="!") for number in numbers], 500
)
auth_hash = User.objects.get(pk=1).get_session_auth_hash()
ends = timezone.now() + timedelta(days=14)
def session(key, user):
    data = {{
        SESSION_KEY: str(user),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: auth_hash,
        "_carillon_saved": int(time.time()),  # without it no stream of the session is continued
    }}
    return Session(session_key=key, session_data=SessionStore().encode(data), expire_date=ends)
Session.objects.bulk_create([session("{of_user}" % number, number) for number in numbers], 500)
Session.objects.bulk_create([session("{of_one}" % number, 1) for number in numbers], 500)
"""


def prepare(folder: Path, build: Build, *, users: int) -> None:
    """Make the database in the folder, if there is none."""
    if (folder / FILE).exists():
        return
    program = MAKE_DATABASE.format(users=users, of_user=SESSION_OF_USER, of_one=SESSION_OF_ONE)
    with peers.redis(folder) as store:
        done = subprocess.run(
            [build.python, "manage.py", "shell", "--verbosity", "0", "-c", program],
            cwd=build.root,
            env=peers.environment(folder, store),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        (folder / FILE).unlink(missing_ok=True)
        raise Broken(f"The database cannot be created: {done.stderr.strip()}")
