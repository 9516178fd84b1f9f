"""The project's settings, from environment variables.

Development (`DEBUG=1`, as `./run` sets it) has a default for every setting. Without `DEBUG`, the
settings that need a decision are required.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from pythonjsonlogger.core import RESERVED_ATTRS

from config.environment import (
    Environment,
    database,
    flag,
    names,
    number,
    one_of,
    redis_url,
    whole_number,
)
from config.keys import read_or_create_secret
from config.tokens import jwt_setting

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)

DEBUG = env("DEBUG", flag, default=False)
HOST = env("HOST", str, default="127.0.0.1")
PORT = env("PORT", whole_number(0, 65535), default=8000)
WEB_CONCURRENCY = env("WEB_CONCURRENCY", whole_number(1), default=1)

DATA_DIR = env("DATA_DIR", Path, default=BASE_DIR / "data").resolve()
if DEBUG:
    DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = env("SECRET_KEY", str, default="")
if DEBUG and not SECRET_KEY:
    SECRET_KEY = read_or_create_secret(DATA_DIR / "secret.key", size=48)
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set: set it to 50 random characters, or SECRET_KEY_FILE to the path of "
        "a file that holds them, or set DEBUG=1 for development."
    )

LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env("ALLOWED_HOSTS", names, default=LOCAL_HOSTS)
if "*" in ALLOWED_HOSTS and not DEBUG:
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS contains '*', so anybody could forge this site's name: list its host names."
    )
CSRF_TRUSTED_ORIGINS = env("CSRF_TRUSTED_ORIGINS", names, default=list[str]())
CSRF_FAILURE_VIEW = "notifications.views.problems.csrf_failure"

CARILLON: dict[str, Any] = {}
if REDIS_URL := env("REDIS_URL", redis_url, default=None):
    CARILLON |= {"LOG": "redis", "REDIS_URL": REDIS_URL}
elif DEBUG:
    CARILLON |= {"LOG": "embedded", "DATA_DIR": DATA_DIR}
else:
    raise ImproperlyConfigured(
        "REDIS_URL is not set: set it to a Redis or Valkey server, as redis://localhost:6379/0. "
        "The embedded one is for development (DEBUG=1)."
    )
if DEBUG:
    CARILLON |= {
        "PUBLIC_TOPICS": ["demo."],
        "PUBLISH_KEYS": [read_or_create_secret(DATA_DIR / "publish.key", size=24)],
    }
    # `carillon dev` creates the user `admin` with this password.
    DEVELOPMENT_PASSWORD = read_or_create_secret(DATA_DIR / "admin.password", size=12)
PARSERS: dict[str, Callable[[str], Any]] = {
    "PUBLISH_KEYS": names,
    "PUBLIC_TOPICS": names,
    "ACCESS": str,
    "GRANT_MAX_AGE": number,
    "CORS_ALLOWED_ORIGINS": names,
    "HISTORY_EVENTS": whole_number(1),
    "HISTORY_BYTES": whole_number(1),
    "HISTORY_AGE": whole_number(1),
    "KEEPALIVE": number,
    "LINK_AGE": whole_number(1),
    "QUERY_TOKENS": flag,
    "DRAIN_SECONDS": number,
    "MAX_EVENT_BYTES": whole_number(1),
    "WAIT_REPLICAS": whole_number(0),
    "METRICS_KEYS": names,
    "REQUEST_TIMEOUT": number,
    "MAX_REQUEST_BYTES": whole_number(1),
    "MAX_STREAMS": whole_number(0),
    "MAX_STREAMS_PER_ADDRESS": whole_number(0),
    "MAX_STREAMS_PER_USER": whole_number(0),
    "MAX_STREAM_AGE": number,
    "PUBLISH_RATE": number,
    "TRUSTED_PROXIES": names,
    "OUTBOX": str,
}
for key, parse in PARSERS.items():
    value = env(f"CARILLON_{key}", parse, default=None)
    if value is not None:
        CARILLON[key] = value
if JWT := jwt_setting(env):
    CARILLON["JWT"] = JWT

INSTALLED_APPS = [
    # For its runserver command. Other commands, and other servers, would load Twisted in vain.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "notifications.apps.CarillonConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "page"
APPEND_SLASH = False  # a redirected POST would arrive as a GET

DATABASES: dict[str, dict[str, Any]] = {
    "default": env(
        "DATABASE_URL",
        database,
        default={"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3"},
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Readers never wait, and writers wait for each other instead of failing.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        timeout=20,
        transaction_mode="IMMEDIATE",
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "demo" / "static"]
if not DEBUG:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "config.storage.ModuleStorage"},
    }

# Browsers keep and send secure cookies on http://localhost too.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
# TLS ends at the proxy in front, which also redirects to https (W008) and sends the HSTS header
# (W004). Here they would lock out http://localhost and the health checks.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
# The image creates a publish key, so that a first try needs no other key (docs/security.md).
SILENCED_SYSTEM_CHECKS += ["carillon.W012"]

LOG_FORMAT = env("LOG_FORMAT", one_of("text", "json"), default="text")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",
            # Django logs its request object, whose text holds the whole URL.
            "reserved_attrs": [*RESERVED_ATTRS, "request"],
        },
    },
    "filters": {
        "structured": {"()": "notifications.telemetry.logs.Structured"},
        "briefly": {"()": "notifications.telemetry.logs.Briefly"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["structured"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "carillon": {"level": "INFO"},
        "django": {"level": "INFO", "handlers": []},
        "django.security.DisallowedHost": {"filters": ["briefly"]},
        "daphne": {"level": "WARNING"},
    },
}
