"""A chat on django-eventstream, migrated: two settings, at the end, and an include in urls.py."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("DATA_DIR", BASE_DIR))

SECRET_KEY = os.environ.get("SECRET_KEY", "an example: make one of your own")
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "chat.urls"
ASGI_APPLICATION = "chat.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_eventstream",
    "chat",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "chat.sqlite3"},
}

REDIS_PORT = int(os.environ.get("REDIS_PORT", "6379"))
# With this setting, processes that still stream with django-eventstream get every event too.
EVENTSTREAM_REDIS = {"host": "127.0.0.1", "port": REDIS_PORT, "db": 0}
EVENTSTREAM_CHANNELMANAGER_CLASS = "chat.channels.ChannelManager"
EVENTSTREAM_ALLOW_ORIGINS = ["https://elsewhere.example"]
EVENTSTREAM_ALLOW_CREDENTIALS = True
EVENTSTREAM_ALLOW_HEADERS = "Authorization"

EVENTSTREAM_STORAGE_CLASS = "notifications.compat.eventstream.Storage"
CARILLON = {"REDIS_URL": f"redis://127.0.0.1:{REDIS_PORT}/1"}
