"""The project's settings, from environment variables.

Development (`DEBUG=1`, as `./run` sets it) has a default for every setting. Without `DEBUG`, the
settings that need a decision are required.
"""

import sys
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS

from config.keys import read_or_create_secret
from config.variables import BASE_DIR, database, read_project

project, CARILLON = read_project()

DEBUG = project.DEBUG
HOST, PORT, WEB_CONCURRENCY = project.HOST, project.PORT, project.WEB_CONCURRENCY
DATA_DIR = project.DATA_DIR.resolve()

SECRET_KEY = project.SECRET_KEY
if DEBUG or (sys.argv[1:2] == ["migrate"] and project.DATABASE_URL is None):
    DATA_DIR.mkdir(parents=True, exist_ok=True)
if DEBUG:
    SECRET_KEY = SECRET_KEY or read_or_create_secret(DATA_DIR / "secret.key", size=48)
    # `carillon dev` creates the user `admin` with this password.
    DEVELOPMENT_PASSWORD = read_or_create_secret(DATA_DIR / "admin.password", size=12)

ALLOWED_HOSTS = project.ALLOWED_HOSTS
CSRF_TRUSTED_ORIGINS = project.CSRF_TRUSTED_ORIGINS
CSRF_FAILURE_VIEW = "notifications.views.problems.csrf_failure"

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
    "notifications.inbox",
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
                *(["demo.people.people"] if DEBUG else []),
            ]
        },
    }
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "page"
APPEND_SLASH = False  # a redirected POST would arrive as a GET

DATABASES: dict[str, dict[str, Any]] = {
    "default": database(project.DATABASE_URL)
    if project.DATABASE_URL
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3"}
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
STATICFILES_DIRS = [BASE_DIR / "config" / "static", BASE_DIR / "demo" / "static"]
# Before `collectstatic`, files are served from where they are.
WHITENOISE_USE_FINDERS = DEBUG or not (STATIC_ROOT / "staticfiles.json").exists()
if not DEBUG:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "config.storage.ModuleStorage"},
    }

# Browsers keep and send secure cookies on http://localhost too.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
# TLS ends at the proxy in front, which also redirects to https (W008) and sends the HSTS header
# (W004). Here they would lock out http://localhost.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
# The image creates a publish key, so that a first try needs no other key (docs/security.md).
SILENCED_SYSTEM_CHECKS += ["carillon.W012"]

LOG_FORMAT = project.LOG_FORMAT
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
