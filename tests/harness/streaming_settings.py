"""The project's settings with `streaming_site` as its URLs and the middleware that a test names."""

import os

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS, MIDDLEWARE

ROOT_URLCONF = "tests.harness.streaming_site"
added = os.environ["WRAPPING_MIDDLEWARE"].split()
# After SessionMiddleware and AuthenticationMiddleware, as django-structlog asks for.
MIDDLEWARE = [*MIDDLEWARE, *added]
if any("structlog" in name for name in added):
    INSTALLED_APPS = [*INSTALLED_APPS, "django_structlog"]
