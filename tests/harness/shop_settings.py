"""The project's settings with `shop_site` as its URLs, and without collected static files."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.harness.shop_site"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
