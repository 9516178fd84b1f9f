"""The project, with pages whose chunks a test gives out one by one, and no files collected."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.harness.demo_site"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
