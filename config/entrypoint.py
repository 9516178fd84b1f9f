"""The image's entrypoint: creates keys once, migrates, creates a first user, runs the command."""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command
from pydantic_settings import SettingsConfigDict

from config.environment import Variables
from config.keys import read_or_create_secret


class Superuser(Variables):
    model_config = SettingsConfigDict(env_prefix="DJANGO_SUPERUSER_")

    USERNAME: str = ""
    PASSWORD: str = ""
    EMAIL: str = ""


def main(command: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    create_key("SECRET_KEY", size=48)
    if key := create_key("CARILLON_PUBLISH_KEYS", size=24):
        print(f"Created a publish key, shown only this once: {key}", flush=True)  # noqa: T201
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    create_superuser()
    if "serve" in command:
        print(welcome(key or "$KEY"), flush=True)  # noqa: T201
    os.execvp(command[0], command)  # noqa: S606


def welcome(key: str) -> str:
    """What the operator needs first, at the address that `docker compose` publishes."""
    from django.contrib.auth.models import User

    from notifications.management.carillon.dev import publish_command

    port = os.environ.get("PUBLISHED_PORT") or os.environ.get("PORT") or "8000"
    domain = os.environ.get("DOMAIN")
    url = f"https://{domain}" if domain else f"http://localhost:{port}"
    lines = [f"Carillon starts at {url}/", f"  publish  {publish_command(url, key)}"]
    kept = Path(os.environ.get("CARILLON_PUBLISH_KEYS_FILE", ""))
    if kept.name and kept.exists():
        lines.append(f"  key      KEY=$(docker compose exec -T web cat {kept})")
    if not User.objects.exists():
        lines.append("  users    docker compose exec web python manage.py createsuperuser")
    return "\n".join(lines)


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

    user = Superuser()
    if user.USERNAME and user.PASSWORD and not User.objects.filter(username=user.USERNAME).exists():
        User.objects.create_superuser(user.USERNAME, user.EMAIL, user.PASSWORD)


if __name__ == "__main__":
    main(sys.argv[1:])
