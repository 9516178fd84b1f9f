"""A site with django-notifications-community, whose pages ask for what is new.

That package is called `notifications`, as ours is: so this file runs from a folder of its own, with
an environment of its own. As a program it prepares the database (`prepare PEOPLE`), adds one
notification after another (`add PEOPLE SECONDS`), many at once (`all`), or nothing (`nothing`).
"""

import os
import sys
import time
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

SESSION_OF_USER = "bench%027d"
_url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY="for the benchmark alone: not a secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _url.path[1:],
            "USER": _url.username,
            "HOST": _url.hostname,
            "PORT": _url.port,
            "CONN_MAX_AGE": 600,  # a connection for each request would cost more than the answer
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "notifications",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()


def up(request: HttpRequest) -> HttpResponse:
    del request
    return HttpResponse("up")


urlpatterns = [
    path("up", up),
    path("inbox/notifications/", include("notifications.urls", namespace="notifications")),
]
application = get_wsgi_application()


def prepare(people: int) -> None:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    call_command("migrate", verbosity=0)
    numbers = range(1, people + 1)
    users = [User(pk=number, username=f"bench{number}", password="!") for number in numbers]
    User.objects.bulk_create(users, 500)
    auth_hash = User.objects.get(pk=1).get_session_auth_hash()
    data = {
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: auth_hash,
    }
    ends = timezone.now() + timedelta(days=14)
    sessions = [
        Session(
            session_key=SESSION_OF_USER % number,
            session_data=SessionStore().encode({SESSION_KEY: str(number), **data}),
            expire_date=ends,
        )
        for number in numbers
    ]
    Session.objects.bulk_create(sessions, 500)


def add(people: int, seconds: float) -> None:
    """Notify one person after another, evenly over the time."""
    from django.contrib.auth.models import User

    notify: Any = import_module("notifications.signals").notify
    users = {user.pk: user for user in User.objects.all()}
    began = time.monotonic()
    for number in range(1, people + 1):
        time.sleep(max(0.0, began + seconds * number / people - time.monotonic()))
        notify.send(users[1], recipient=users[number], verb="Your order was paid.")


def notify_all() -> None:
    """Write the times at which the call began and returned into the file `times`."""
    from django.contrib.auth.models import User

    notify: Any = import_module("notifications.signals").notify
    sender = User.objects.get(pk=1)
    began = time.monotonic()
    notify.send(sender, recipient=User.objects.all(), verb="Closed on Friday.")
    Path("times").write_text(f"{began} {time.monotonic()}")


def main(command: str, *numbers: str) -> None:
    if command == "prepare":
        prepare(int(numbers[0]))
    elif command == "add":
        add(int(numbers[0]), float(numbers[1]))
    elif command == "all":
        notify_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
