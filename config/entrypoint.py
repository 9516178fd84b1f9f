"""What the image does before it runs its command: keys, once; migrations; a first user."""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command

from config.environment import Environment
from config.keys import kept


def main(command: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    make_key("SECRET_KEY", size=48)
    if key := make_key("CARILLON_PUBLISH_KEYS", size=24):
        print(f"Made a key to publish with, shown this once: {key}", flush=True)  # noqa: T201
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    make_superuser()
    os.execvp(command[0], command)  # noqa: S606


def make_key(name: str, *, size: int) -> str | None:
    """A new key in the file that `NAME_FILE` names, unless there is one or `NAME` is given."""
    path = Path(os.environ.get(f"{name}_FILE", ""))
    if os.environ.get(name) or not path.name or path.exists():
        return None
    return kept(path, size=size)


def make_superuser() -> None:
    """As `DJANGO_SUPERUSER_*` say; one who exists already stays as they are."""
    from django.contrib.auth.models import User

    env = Environment(os.environ)
    username = env("DJANGO_SUPERUSER_USERNAME", str, default="")
    password = env("DJANGO_SUPERUSER_PASSWORD", str, default="")
    email = env("DJANGO_SUPERUSER_EMAIL", str, default="")
    if username and password and not User.objects.filter(username=username).exists():
        User.objects.create_superuser(username, email, password)


if __name__ == "__main__":
    main(sys.argv[1:])
