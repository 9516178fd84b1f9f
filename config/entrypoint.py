"""The image's entrypoint: creates keys once, migrates, creates a first user, runs the command."""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command

from config.environment import Environment
from config.keys import read_or_create_secret


def main(command: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    create_key("SECRET_KEY", size=48)
    if key := create_key("CARILLON_PUBLISH_KEYS", size=24):
        print(f"Created a publish key, shown only this once: {key}", flush=True)  # noqa: T201
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    create_superuser()
    os.execvp(command[0], command)  # noqa: S606


def create_key(name: str, *, size: int) -> str | None:
    """Create a key in the file that `NAME_FILE` names.

    Returns None if the file exists, or if `NAME` is set.
    """
    path = Path(os.environ.get(f"{name}_FILE", ""))
    if os.environ.get(name) or not path.name or path.exists():
        return None
    return read_or_create_secret(path, size=size)


def create_superuser() -> None:
    """Create the user of `DJANGO_SUPERUSER_*`. A user who exists is not changed."""
    from django.contrib.auth.models import User

    env = Environment(os.environ)
    username = env("DJANGO_SUPERUSER_USERNAME", str, default="")
    password = env("DJANGO_SUPERUSER_PASSWORD", str, default="")
    email = env("DJANGO_SUPERUSER_EMAIL", str, default="")
    if username and password and not User.objects.filter(username=username).exists():
        User.objects.create_superuser(username, email, password)


if __name__ == "__main__":
    main(sys.argv[1:])
