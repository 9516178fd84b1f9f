"""The project's settings with more classes of its rows, django-guardian, and a last-seen date."""

from config.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "guardian", "tests.harness.row_classes"]  # noqa: F405
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
MIDDLEWARE = [*MIDDLEWARE, "tests.harness.last_seen.last_seen"]  # noqa: F405
