"""A site with django-eventstream that can resume: Redis between processes, events in a database."""

import os

from django.core.asgi import get_asgi_application

from benchmarks.sites.sending import configure, routes

DATABASE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ["DATABASE"],
    # Writers of several processes wait for each other, instead of failing.
    "OPTIONS": {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    },
}

configure(
    __name__,
    DATABASES={"default": DATABASE},
    EVENTSTREAM_REDIS={"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"]), "db": 0},
    EVENTSTREAM_STORAGE_CLASS="django_eventstream.storage.DjangoModelStorage",
)
application = get_asgi_application()
urlpatterns = routes("django_eventstream.urls")
