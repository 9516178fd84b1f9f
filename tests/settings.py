"""The project's settings, as tests want them: nothing written into the checkout, no waiting."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("DEBUG", "0")
os.environ.setdefault("SECRET_KEY", "for tests alone: not a secret, and long enough for the checks")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")
if "DATA_DIR" not in os.environ:
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="carillon-tests-")
    atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)

from config.settings import *  # noqa: F403

CARILLON = {
    "LOG": "memory",
    "PUBLIC_TOPICS": ["demo."],
    "PUBLISH_KEYS": ["a-publish-key-for-the-tests"],
}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.harness.text_keys", "tests.harness.row_classes"]  # noqa: F405
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_ROOT = DATA_DIR / "staticfiles"  # noqa: F405
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# Otherwise WhiteNoise reads every static file for each middleware chain, and most tests build one.
WHITENOISE_AUTOREFRESH = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
